//! Any bytes as what the other end of the port says. Nothing may panic or grow large; what is understood is
//! said again in the same way.
#![no_main]

use guestd_api::wire::{self, Frame, MAX_FRAME};
use guestd_api::{Call, Value};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut stream = bytes;
    let (mut buffer, mut scratch, mut again) = (Vec::new(), Vec::new(), Vec::new());
    while let Ok(Some(frame)) = wire::read_frame(&mut stream, &mut buffer) {
        again.clear();
        wire::write_frame(&mut again, &frame, &mut scratch).expect("what was read can be written");
        let mut copy = Vec::new();
        let same = wire::read_frame(&mut &again[..], &mut copy).expect("and read again");
        assert_eq!(same.as_ref(), Some(&frame));
        if let Frame::Call { part, .. } | Frame::Reply { part, .. } = frame {
            messages(part);
        }
    }
    assert!(buffer.capacity() <= 2 * MAX_FRAME);
    messages(bytes);
});

fn messages(bytes: &[u8]) {
    if let Ok(call) = wire::decode::<Call>(bytes) {
        let text = wire::encode(&call).expect("a call can be encoded");
        assert_eq!(wire::decode::<Call>(&text).expect("and decoded"), call);
    }
    if let Ok(value) = wire::decode::<Value>(bytes) {
        let text = wire::encode(&value).expect("a value can be encoded");
        assert_eq!(wire::decode::<Value>(&text).expect("and decoded"), value);
    }
}

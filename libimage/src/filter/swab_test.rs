#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use super::*;
use crate::filter::model;

#[test]
fn words_are_turned_round() {
    let below: Arc<dyn Block> = Arc::new(crate::storage::Memory::from_bytes(b"0123456789abcdefghi"));
    for (bits, text) in [
        (8, "0123456789abcdefghi"),
        (16, "1032547698badcfehg"),
        (32, "32107654ba98fedc"),
        (64, "76543210fedcba98"),
    ] {
        let swab = Swab::new(Arc::clone(&below), bits).unwrap();
        assert_eq!(model::all(&swab), text.as_bytes());
    }
    let swab = Swab::new(Arc::clone(&below), 32).unwrap();
    swab.write_at(b"ABCDEFGH", 4).unwrap();
    assert_eq!(model::read(&*below, 0..16), b"0123DCBAHGFEcdef");
    assert_eq!(model::read(&swab, 4..12), b"ABCDEFGH");
    swab.write_zeroes(4..8, Zero::MayUnmap).unwrap();
    assert!(swab.write_at(b"AB", 4).is_err());
    assert!(swab.read_at(&mut [0; 4], 2).is_err());
    assert!(swab.write_zeroes(0..3, Zero::MayUnmap).is_err());
    assert!(Swab::new(below, 24).is_err());
}

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    libimage_fuzz::bodies::tar(bytes);
});

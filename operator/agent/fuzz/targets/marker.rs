#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    mainstay_agent::fuzzing::marker(input);
});

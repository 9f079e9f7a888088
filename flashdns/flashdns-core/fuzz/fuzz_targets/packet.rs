//! Any packet whatsoever, by libFuzzer. What has to hold is in the file that the tests use as well.
#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/it/survive.rs"]
mod survive;

thread_local! {
    static ROOM: RefCell<survive::Room> = RefCell::new(survive::Room::new());
}

fuzz_target!(|packet: &[u8]| ROOM.with_borrow_mut(|room| survive::survives(room, packet)));

//! The numbers of codes on the wire.

use wawo_protocol::{CloseCode, Code};

#[test]
fn codes_keep_their_numbers_and_unknown_ones_read_as_unknown() {
    for number in 0..=16 {
        assert_eq!(Code::from_wire(number).to_wire(), number);
    }
    assert_eq!(Code::from_wire(17), Code::Unknown);
}

#[test]
fn close_codes_keep_their_numbers() {
    for number in 0..10 {
        assert_eq!(CloseCode::from_wire(number).to_wire(), number);
    }
    assert_eq!(CloseCode::from_wire(9), CloseCode::Other(9));
}

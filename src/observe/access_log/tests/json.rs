//! A reader of JSON that takes nothing that RFC 8259 does not allow.

use std::{iter::Peekable, str::Chars};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Json {
    Number(u64),
    Text(String),
    Object(Vec<(String, Self)>),
}

impl Json {
    /// Reads a text that is one value.
    pub(super) fn parse(text: &str) -> Self {
        let mut rest = text.chars().peekable();
        let value = value(&mut rest);
        assert_eq!(rest.next(), None, "{text}");
        value
    }

    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        let Self::Object(fields) = self else {
            panic!("{self:?} is no object");
        };
        let mut found = fields.iter().filter(|(field, _)| field == name);
        let value = found.next().map(|(_, value)| value);
        assert!(found.next().is_none(), "`{name}` is there twice");
        value
    }

    pub(super) fn text(&self, name: &str) -> &str {
        match self.get(name) {
            Some(Self::Text(text)) => text,
            other => panic!("`{name}` is {other:?}"),
        }
    }
}

type Rest<'a> = Peekable<Chars<'a>>;

fn value(rest: &mut Rest<'_>) -> Json {
    match rest.peek() {
        Some('"') => Json::Text(string(rest)),
        Some('{') => object(rest),
        Some('0'..='9') => number(rest),
        other => panic!("{other:?} begins no value"),
    }
}

fn expect(rest: &mut Rest<'_>, c: char) {
    assert_eq!(rest.next(), Some(c));
}

fn object(rest: &mut Rest<'_>) -> Json {
    let mut fields = Vec::new();
    expect(rest, '{');
    loop {
        let name = string(rest);
        expect(rest, ':');
        fields.push((name, value(rest)));
        match rest.next() {
            Some(',') => {}
            Some('}') => return Json::Object(fields),
            other => panic!("{other:?} in an object"),
        }
    }
}

fn number(rest: &mut Rest<'_>) -> Json {
    let mut digits = String::new();
    while let Some(digit) = rest.next_if(char::is_ascii_digit) {
        digits.push(digit);
    }
    assert!(digits == "0" || !digits.starts_with('0'), "{digits}");
    Json::Number(digits.parse().unwrap())
}

fn string(rest: &mut Rest<'_>) -> String {
    let mut units = Vec::new();
    expect(rest, '"');
    loop {
        match rest.next().unwrap() {
            '"' => return String::from_utf16(&units).unwrap(),
            '\\' => units.push(escaped(rest)),
            c => {
                assert!(c >= ' ', "{c:?} is not escaped");
                units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
            }
        }
    }
}

fn escaped(rest: &mut Rest<'_>) -> u16 {
    match rest.next().unwrap() {
        c @ ('"' | '\\' | '/') => c as u16,
        'n' => u16::from(b'\n'),
        'r' => u16::from(b'\r'),
        't' => u16::from(b'\t'),
        'u' => {
            let digits: String = (0..4).filter_map(|_| rest.next()).collect();
            u16::from_str_radix(&digits, 16).unwrap()
        }
        c => panic!("`\\{c}` is no escape"),
    }
}

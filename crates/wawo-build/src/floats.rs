//! Numbers that are not finite, as values of options: `nan`, `inf`, `-nan` and `-inf`. protox takes
//! them for names, and only the default of a field may have a minus before a name.

use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    UninterpretedOption,
};
use protox::{Error, file::File};

/// Gives options with such a name as their value the number too. The kind of the option decides
/// which of them counts. Returns whether there were any.
pub(crate) fn complete(file: &mut FileDescriptorProto) -> bool {
    let mut found = false;
    for_each_option(file, &mut |option| {
        let value = match option.identifier_value.as_deref() {
            Some("nan") => f64::NAN,
            Some("inf") => f64::INFINITY,
            _ => return,
        };
        option.double_value = Some(value);
        found = true;
    });
    found
}

/// Whether an error of the parser is about a name with a minus before it.
pub(crate) fn is_negative_name(error: &Error) -> bool {
    error.to_string() == "identifiers may not be negative"
}

/// Parses a text in which names may have a minus before them.
pub(crate) fn parse(name: &str, mut text: String) -> Result<File, Error> {
    loop {
        let error = match File::from_source(name, &text) {
            Err(error) if is_negative_name(&error) => error,
            result => return result,
        };
        match without_negative_name(&error, name, &text) {
            Some(mended) => text = mended,
            None => return Err(error),
        }
    }
}

/// Writes the value at which the parser failed in a way that it can read. Only positions behind it
/// on the same line change.
fn without_negative_name(error: &Error, name: &str, text: &str) -> Option<String> {
    let place = format!("{error:?}");
    let mut place = place.strip_prefix(name)?.split(':').skip(1);
    let [line, column] = [place.next()?, place.next()?].map(|number| number.parse::<usize>().ok());
    let start = text
        .split_inclusive('\n')
        .take(line? - 1)
        .map(str::len)
        .sum::<usize>();
    let (offset, _) = text.get(start..)?.char_indices().nth(column? - 1)?;
    let (before, rest) = text.split_at(start + offset);
    let value = rest.strip_prefix('-')?;
    let space = value.len() - value.trim_start().len();
    let (space, value) = value.split_at(space);
    // A number that is too large for a float is infinite.
    let (written, behind) = match value.strip_prefix("inf") {
        Some(behind) => ("-1e999", behind),
        None => ("nan", value.strip_prefix("nan")?),
    };
    Some(format!("{before}{space}{written}{behind}"))
}

fn for_each_option(file: &mut FileDescriptorProto, act: &mut impl FnMut(&mut UninterpretedOption)) {
    /// Applies `act` to the options of some items.
    macro_rules! options_of {
        ($items:expr) => {
            for options in $items.iter_mut().flat_map(|item| &mut item.options) {
                options.uninterpreted_option.iter_mut().for_each(&mut *act);
            }
        };
    }
    let options = file.options.iter_mut();
    for option in options.flat_map(|options| &mut options.uninterpreted_option) {
        act(option);
    }
    let mut messages = file
        .message_type
        .iter_mut()
        .collect::<Vec<&mut DescriptorProto>>();
    let mut enums = file
        .enum_type
        .iter_mut()
        .collect::<Vec<&mut EnumDescriptorProto>>();
    let mut fields = file
        .extension
        .iter_mut()
        .collect::<Vec<&mut FieldDescriptorProto>>();
    while let Some(message) = messages.pop() {
        options_of!([&mut *message]);
        options_of!(message.oneof_decl);
        options_of!(message.extension_range);
        messages.extend(&mut message.nested_type);
        enums.extend(&mut message.enum_type);
        fields.extend(&mut message.field);
        fields.extend(&mut message.extension);
    }
    options_of!(fields);
    for item in enums {
        options_of!([&mut *item]);
        options_of!(item.value);
    }
    for service in &mut file.service {
        options_of!([&mut *service]);
        options_of!(service.method);
    }
}

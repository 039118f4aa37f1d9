//! The little JSON that the commands write.

use std::ffi::OsStr;
use std::fmt::{self, Write};

/// A value of JSON.
pub enum Json {
    /// Nothing known.
    Null,
    /// Yes or no.
    Bool(bool),
    /// A number; what JSON has no number for becomes null.
    Number(f64),
    /// A whole number.
    Whole(u64),
    /// A text.
    Text(String),
    /// Some values.
    List(Vec<Json>),
    /// Some named values.
    Object(Vec<(&'static str, Json)>),
}

impl Json {
    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A name that need not be UTF-8: with replacement characters then.
    pub fn name(name: &OsStr) -> Self {
        Self::text(name.to_string_lossy())
    }

    /// The bytes of a name that is not UTF-8, in hexadecimal; of others, which [`Json::name`] shows as they are, nothing.
    pub fn hex(name: &OsStr) -> Self {
        match name.to_str() {
            Some(_) => Self::Null,
            None => Self::text(name.as_encoded_bytes().iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
        }
    }

    /// A number that may be missing.
    pub fn maybe(number: Option<f64>) -> Self {
        number.map_or(Self::Null, Self::Number)
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(value) if value.is_finite() => write!(f, "{value}"),
            Self::Number(_) => f.write_str("null"),
            Self::Whole(value) => write!(f, "{value}"),
            Self::Text(text) => quote(f, text),
            Self::List(values) => {
                f.write_char('[')?;
                for (number, value) in values.iter().enumerate() {
                    write!(f, "{}{value}", if number == 0 { "" } else { "," })?;
                }
                f.write_char(']')
            }
            Self::Object(members) => {
                f.write_char('{')?;
                for (number, (name, value)) in members.iter().enumerate() {
                    f.write_str(if number == 0 { "" } else { "," })?;
                    quote(f, name)?;
                    write!(f, ":{value}")?;
                }
                f.write_char('}')
            }
        }
    }
}

/// Writes a text with its quotes and escapes.
fn quote(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for char in text.chars() {
        match char {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            char if char < ' ' => write!(f, "\\u{:04x}", u32::from(char))?,
            char => f.write_char(char)?,
        }
    }
    f.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_can_be_recovered() {
        use std::os::unix::ffi::OsStrExt;
        let name = OsStr::from_bytes(b"a\x1b\xff");
        assert_eq!(Json::name(name).to_string(), "\"a\\u001b\u{fffd}\"");
        assert_eq!(Json::hex(name).to_string(), r#""611bff""#);
        assert_eq!(Json::name(OsStr::new("a\n")).to_string(), r#""a\u000a""#);
        assert_eq!(Json::hex(OsStr::new("a\n")).to_string(), "null");
    }

    #[test]
    fn every_kind_of_value() {
        let value = Json::Object(vec![
            ("a", Json::List(vec![Json::Null, Json::Bool(true), Json::Number(1.5), Json::Whole(u64::MAX)])),
            ("b", Json::text("x\"\\\n\u{1f}é")),
            ("c", Json::Object(Vec::new())),
            ("d", Json::Number(f64::NAN)),
            ("e", Json::maybe(None)),
        ]);
        let text = r#"{"a":[null,true,1.5,18446744073709551615],"b":"x\"\\\u000a\u001fé","c":{},"d":null,"e":null}"#;
        assert_eq!(value.to_string(), text);
    }
}

//! `--name value` pairs of a command line.

use std::{fmt::Display, str::FromStr};

use anyhow::{Context as _, Result, anyhow, bail};

/// The remaining pairs. [`take`](Self::take) the known ones, then [`finish`](Self::finish).
#[derive(Debug)]
pub struct Flags {
    pairs: Vec<(String, String)>,
}

impl Flags {
    /// Splits `words` into pairs.
    ///
    /// # Errors
    ///
    /// A word is not a `--name` where one is required, a name has no value, or a name is given
    /// twice.
    pub fn parse(words: impl IntoIterator<Item = String>) -> Result<Self> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        let mut words = words.into_iter();
        while let Some(name) = words.next() {
            if !name.starts_with("--") {
                bail!("expected --name, found `{name}`");
            }
            if pairs.iter().any(|(known, _)| *known == name) {
                bail!("{name} is given twice");
            }
            let value = words
                .next()
                .with_context(|| format!("{name} lacks a value"))?;
            pairs.push((name, value));
        }
        Ok(Self { pairs })
    }

    /// Removes `name` and parses its value; `None` if it was not given.
    ///
    /// # Errors
    ///
    /// The value does not parse.
    pub fn take<T: FromStr<Err: Display>>(&mut self, name: &str) -> Result<Option<T>> {
        let Some(at) = self.pairs.iter().position(|(known, _)| known == name) else {
            return Ok(None);
        };
        let (_, value) = self.pairs.remove(at);
        let parsed = value
            .parse()
            .map_err(|error| anyhow!("{name} {value}: {error}"))?;
        Ok(Some(parsed))
    }

    /// [`take`](Self::take), with a default.
    ///
    /// # Errors
    ///
    /// The value does not parse.
    pub fn take_or<T: FromStr<Err: Display>>(&mut self, name: &str, default: T) -> Result<T> {
        Ok(self.take(name)?.unwrap_or(default))
    }

    /// [`take`](Self::take) for a required name.
    ///
    /// # Errors
    ///
    /// The value is missing or does not parse.
    pub fn require<T: FromStr<Err: Display>>(&mut self, name: &str) -> Result<T> {
        self.take(name)?
            .with_context(|| format!("{name} is missing"))
    }

    /// Checks that all names were taken.
    ///
    /// # Errors
    ///
    /// A name is unknown.
    pub fn finish(self) -> Result<()> {
        match self.pairs.first() {
            Some((name, _)) => bail!("unknown argument {name}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Flags;

    fn flags(line: &str) -> anyhow::Result<Flags> {
        Flags::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn takes_what_is_given_and_defaults_the_rest() {
        let mut flags = flags("--size 32 --secs 1.5").unwrap();
        assert_eq!(flags.require::<usize>("--size").unwrap(), 32);
        assert_eq!(flags.take_or("--secs", 2.0).unwrap(), 1.5);
        assert_eq!(flags.take_or("--conns", 7).unwrap(), 7);
        flags.finish().unwrap();
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        assert!(flags("size 32").is_err());
        assert!(flags("--size").is_err());
        assert!(flags("--size 1 --size 2").is_err());
        assert!(flags("--size 1").unwrap().finish().is_err());
        assert!(
            flags("--size x")
                .unwrap()
                .require::<usize>("--size")
                .is_err()
        );
        assert!(flags("").unwrap().require::<usize>("--size").is_err());
    }
}

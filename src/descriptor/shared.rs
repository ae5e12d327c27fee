//! The parts of a descriptor: statics in generated code, and reference-counted values at run time. A
//! clone of either copies a few words.

use std::{fmt, ops::Deref, sync::Arc};

/// A value that lives as long as the program, or as long as it has an owner.
pub(crate) enum StaticOrArc<T: ?Sized + 'static> {
    Static(&'static T),
    Counted(Arc<T>),
}

impl<T: ?Sized> Deref for StaticOrArc<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        match self {
            Self::Static(value) => value,
            Self::Counted(value) => value,
        }
    }
}

impl<T: ?Sized> Clone for StaticOrArc<T> {
    #[inline]
    fn clone(&self) -> Self {
        match self {
            Self::Static(value) => Self::Static(value),
            Self::Counted(value) => Self::Counted(value.clone()),
        }
    }
}

impl<T: ?Sized + PartialEq> PartialEq for StaticOrArc<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: ?Sized + Eq> Eq for StaticOrArc<T> {}

impl<T: ?Sized + fmt::Debug> fmt::Debug for StaticOrArc<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// The texts of a method.
#[doc(hidden)]
#[derive(Debug)]
pub struct MethodTexts<S> {
    /// `package.Service/Method`.
    pub(crate) path: S,
    pub(crate) input: S,
    pub(crate) output: S,
}

impl MethodTexts<&'static str> {
    /// For generated code. `path` is `package.Service/Method`; the types are full names.
    pub const fn new(path: &'static str, input: &'static str, output: &'static str) -> Self {
        Self {
            path,
            input,
            output,
        }
    }
}

/// The texts of a method, behind one pointer, because each call holds its method.
#[derive(Debug, Clone)]
pub(crate) enum Texts {
    Static(&'static MethodTexts<&'static str>),
    Counted(Arc<MethodTexts<String>>),
}

impl Texts {
    pub(crate) fn static_address(&self) -> Option<usize> {
        match self {
            Self::Static(texts) => Some(std::ptr::from_ref(*texts).addr()),
            Self::Counted(_) => None,
        }
    }

    pub(crate) fn path(&self) -> &str {
        match self {
            Self::Static(texts) => texts.path,
            Self::Counted(texts) => &texts.path,
        }
    }

    pub(crate) fn input(&self) -> &str {
        match self {
            Self::Static(texts) => texts.input,
            Self::Counted(texts) => &texts.input,
        }
    }

    pub(crate) fn output(&self) -> &str {
        match self {
            Self::Static(texts) => texts.output,
            Self::Counted(texts) => &texts.output,
        }
    }
}

impl PartialEq for Texts {
    fn eq(&self, other: &Self) -> bool {
        self.path() == other.path()
            && self.input() == other.input()
            && self.output() == other.output()
    }
}

impl Eq for Texts {}

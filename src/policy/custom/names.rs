use http::HeaderName;

/// Names of headers: exact, `pre*` or `*suf`, whatever their case.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names(Box<[Name]>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    Exact(Box<str>),
    Prefix(Box<str>),
    Suffix(Box<str>),
}

impl Names {
    /// Reads a list of meshConfig's.
    ///
    /// # Errors
    /// `*` alone, which Istio refuses too, and what is no part of a name.
    pub(super) fn read(field: &str, texts: &[String]) -> Result<Self, String> {
        let read = |text: &String| match (text.strip_prefix('*'), text.strip_suffix('*')) {
            (Some(""), _) => Err(format!("{field}: `*` alone is not known to Istio: write a prefix or a suffix")),
            (Some(end), _) => part(field, end).map(Name::Suffix),
            (None, Some(start)) => part(field, start).map(Name::Prefix),
            (None, None) => part(field, text).map(Name::Exact),
        };
        texts.iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// Whether it is one of them.
    pub fn has(&self, name: &HeaderName) -> bool {
        let name = name.as_str();
        self.0.iter().any(|one| match one {
            Name::Exact(exact) => **exact == *name,
            Name::Prefix(prefix) => name.starts_with(&**prefix),
            Name::Suffix(suffix) => name.ends_with(&**suffix),
        })
    }
}

fn part(field: &str, text: &str) -> Result<Box<str>, String> {
    let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_no_name| format!("{field}: {text:?} is no header"))?;
    Ok(name.as_str().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_prefix_and_suffix_without_regard_to_case() {
        let names = Names::read("f", &["X-Auth-*".into(), "*-Token".into(), "Set-Cookie".into()]).unwrap();
        for (name, is) in [
            ("x-auth-user", true),
            ("x-auth-", true),
            ("my-token", true),
            ("set-cookie", true),
            ("set-cookie2", false),
            ("token", false),
            ("x-aut", false),
        ] {
            assert_eq!(names.has(&name.parse().unwrap()), is, "{name}");
        }
        assert!(!Names::default().has(&http::header::COOKIE));
        for bad in ["*", "a b", "", "a*b"] {
            let read = Names::read("f", &[bad.to_owned()]);
            assert!(read.is_err() || bad == "a*b", "{bad:?} {read:?}");
        }
    }
}

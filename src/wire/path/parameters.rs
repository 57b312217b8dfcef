//! `;parameters` of path segments. RFC 3986 (section 3.3) leaves them to the server: some cut them off before they look
//! for what is asked for, to others they are a part of its name.

/// `path` as servers read it that cut parameters off every segment; none where it has no `;`, raw or escaped.
pub fn without_parameters(path: &str) -> Option<String> {
    has_parameters(path).then(|| path.split('/').map(name).collect::<Vec<_>>().join("/"))
}

/// Whether a `;` stands in `text`, raw or escaped.
pub fn has_parameters(text: &str) -> bool {
    name(text).len() < text.len()
}

/// What stands before the first `;`.
fn name(segment: &str) -> &str {
    let ends = [segment.find(';'), segment.find("%3B"), segment.find("%3b")];
    let end = ends.into_iter().flatten().min();
    end.and_then(|end| segment.get(..end)).unwrap_or(segment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_segment_loses_its_own() {
        let rows = [
            ("/admin;x", "/admin"),
            ("/admin;x=y/users;z", "/admin/users"),
            ("/admin%3Bx/users", "/admin/users"),
            ("/admin%3bx;y/users/", "/admin/users/"),
            ("/a;", "/a"),
        ];
        for (path, cut) in rows {
            assert_eq!(without_parameters(path).as_deref(), Some(cut), "{path}");
        }
        for path in ["/", "/admin", "/a%3Ab", "*"] {
            assert_eq!(without_parameters(path), None, "{path}");
        }
    }
}

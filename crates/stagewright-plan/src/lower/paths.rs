//! Paths inside an image, as text.

/// Joins a path with a working directory and removes `.`, `..` and doubled slashes. The result is
/// absolute and never leaves the root.
pub(crate) fn absolute(workdir: &str, path: &str) -> String {
    let joined = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("{workdir}/{path}")
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in joined.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// As [`absolute`], and keeps what says that the path is a directory: a slash at its end, or a
/// last part of `.`, or no path at all.
pub(crate) fn destination(workdir: &str, path: &str) -> String {
    let clean = absolute(workdir, path);
    let directory = path.is_empty() || path.ends_with('/') || path == "." || path.ends_with("/.");
    if directory && clean != "/" {
        clean + "/"
    } else {
        clean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_made_absolute_and_clean() {
        for (workdir, path, expected) in [
            ("/", "a", "/a"),
            ("", "a", "/a"),
            ("/w", "a/b/", "/w/a/b"),
            ("/w", "/a//b", "/a/b"),
            ("/w/x", "../y/./z", "/w/y/z"),
            ("/w", "../../../x", "/x"),
            ("/w", "", "/w"),
            ("/w", ".", "/w"),
        ] {
            assert_eq!(absolute(workdir, path), expected, "{workdir} {path}");
        }
    }

    #[test]
    fn destinations_say_whether_they_are_directories() {
        for (path, expected) in [
            ("a", "/w/a"),
            ("a/", "/w/a/"),
            (".", "/w/"),
            ("", "/w/"),
            ("./", "/w/"),
            ("/", "/"),
            ("/a/.", "/a/"),
            ("/a/..", "/"),
        ] {
            assert_eq!(destination("/w", path), expected, "{path}");
        }
    }
}

//! Route classes: what may be kept of a request's path.
//!
//! A path may hold names, keys, search words, anything. A route keeps its first segment where that is a short plain
//! word, and tells the rest by class. Its length is bounded (64 bytes are never exceeded) and so is its alphabet.
//!
//! 1. Query, fragment and `;parameters` go; `http://host` before the path goes; empty segments and a slash at the end
//!    do not count; letters become lower case; nothing is percent-decoded.
//! 2. A segment is an **id** where it is of `[a-z0-9_-]` and: all digits; or at least four digits; or at least half of
//!    it, and three, digits; or at least 8 characters, all of `[0-9a-f-]`; or over 24 characters.
//!    A **word** is of `[a-z0-9_-]`, at most 24 characters, and no id. A **script** is a word with an ending such as
//!    `.php`. A **file** ends in one of a closed list of endings, whatever stands before. Anything else is the **rest**.
//! 3. A path of one segment gives its word or script, else `:id`, `:file.<ending>` or `:rest`.
//! 4. A longer path gives the word, script or id that it starts with, or nothing in place of another first segment;
//!    then `:id` where the second is an id after a word; then, unless that was the last, `:file.<ending>` where the
//!    last is a file or a script, else `:rest`.
//!
//! | path                                          | route                      |
//! |-----------------------------------------------|----------------------------|
//! | `/`                                           | `/`                        |
//! | `/about/`, `/About?x=1`                       | `/about`                   |
//! | `/wp-login.php?user=ann`                      | `/wp-login.php`            |
//! | `/wp-admin/admin-ajax.php`                    | `/wp-admin/:file.php`      |
//! | `/blog/geekery/installing-windows-8.html`     | `/blog/:file.html`         |
//! | `/blog/tags/x11`                              | `/blog/:rest`              |
//! | `/users/4711`, `/users/4711/edit`             | `/users/:id`, `/users/:id/:rest` |
//! | `/2015/05/a-title`                            | `/:id/:rest`               |
//! | `/favicon.ico`                                | `/:file.ico`               |
//! | `/~ann/photo.jpg`                             | `/:file.jpg`               |
//! | `/ann@example.com`, `/caf%C3%A9/x`            | `/:rest`                   |
//! | `*`, `-`, `host:443`, binary bytes            | none                       |

/// The longest word that is kept.
const WORD_BYTES_MAX: usize = 24;

/// Endings of files that a server hands out as they are.
const FILE_ENDINGS: [&str; 50] = [
    "css", "js", "mjs", "map", "json", "xml", "xsl", "txt", "html", "htm", "xhtml", "md", "csv", "pdf",
    "png", "jpg", "jpeg", "gif", "ico", "svg", "webp", "avif", "bmp", "tif", "tiff", "woff", "woff2", "ttf",
    "otf", "eot", "zip", "gz", "tgz", "bz2", "xz", "tar", "rar", "7z", "jar", "deb", "rpm", "exe", "iso",
    "mp3", "mp4", "ogg", "webm", "rss", "atom", "wasm",
];

/// Endings of scripts: what stands before is an entry point of a site.
const SCRIPT_ENDINGS: [&str; 8] = ["php", "asp", "aspx", "jsp", "cgi", "pl", "do", "action"];

/// The route class of a request's target; `None` where it has no path. See the rules above.
///
/// ```
/// use annals_signals::read::route;
/// assert_eq!(route(b"/users/4711/edit?token=x").as_deref(), Some("/users/:id/:rest"));
/// ```
#[must_use]
pub fn route(target: &[u8]) -> Option<String> {
    let mut route = String::with_capacity(32);
    put_route(target, &mut route).then_some(route)
}

/// Appends the route class of a request's target; false where it has no path.
pub(super) fn put_route(target: &[u8], route: &mut String) -> bool {
    let Some(path) = path_of(target) else { return false };
    let mut segments = path.split(|&byte| byte == b'/').filter(|segment| !segment.is_empty());
    let Some(first) = segments.next() else {
        route.push('/');
        return true;
    };
    let (mut second, mut last, mut more) = (None, None, 0);
    for segment in segments {
        second = second.or(Some(segment));
        last = Some(segment);
        more += 1;
    }
    let first = Segment::of(first);
    let Some(last) = last else {
        first.push(route, true);
        return true;
    };
    match &first {
        // Not kept: the route tells what is fetched, or that there is more.
        Segment::Rest | Segment::File(_) => {}
        kept => kept.push(route, true),
    }
    if let (Segment::Word(_), Some(second)) = (&first, second)
        && matches!(Segment::of(second), Segment::Id)
    {
        Segment::Id.push(route, false);
        if more == 1 {
            return true;
        }
    }
    match Segment::of(last) {
        file @ (Segment::File(_) | Segment::Script(..)) => file.push(route, false),
        _ => Segment::Rest.push(route, false),
    }
    true
}

/// The path of a target, without query, fragment and parameters.
fn path_of(target: &[u8]) -> Option<&[u8]> {
    let starts = |prefix: &str| {
        target.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
    };
    let path = if target.first() == Some(&b'/') {
        target
    } else {
        let scheme = ["http://", "https://"].into_iter().find(|scheme| starts(scheme))?;
        let rest = target.get(scheme.len()..)?;
        let end = rest.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(rest.len());
        rest.get(end..)?
    };
    path.split(|byte| b"?#;".contains(byte)).next()
}

/// A segment of a path by class; a word may have capitals still.
#[derive(Debug)]
enum Segment<'a> {
    Word(&'a [u8]),
    /// A word and a script's ending.
    Script(&'a [u8], &'static str),
    Id,
    File(&'static str),
    Rest,
}

impl<'a> Segment<'a> {
    fn of(segment: &'a [u8]) -> Segment<'a> {
        let Some(dot) = segment.iter().rposition(|&byte| byte == b'.') else { return plain(segment) };
        let (before, ending) = segment.split_at(dot);
        let among = |endings: &[&'static str]| {
            let is = |known: &&&str| {
                ending.get(1..).is_some_and(|ending| ending.eq_ignore_ascii_case(known.as_bytes()))
            };
            endings.iter().find(is).copied()
        };
        if let Some(ending) = among(&FILE_ENDINGS) {
            return Segment::File(ending);
        }
        match (among(&SCRIPT_ENDINGS), plain(before)) {
            (Some(ending), Segment::Word(word)) => Segment::Script(word, ending),
            (Some(ending), _) => Segment::File(ending),
            // A dot is in no word.
            (None, _) => Segment::Rest,
        }
    }

    fn push(&self, route: &mut String, is_first: bool) {
        let put_word = |route: &mut String, word: &[u8]| {
            route.extend(word.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
        };
        route.push('/');
        match self {
            Segment::Word(word) => put_word(route, word),
            Segment::Script(word, ending) if is_first => {
                put_word(route, word);
                route.push('.');
                route.push_str(ending);
            }
            Segment::Id => route.push_str(":id"),
            Segment::File(ending) | Segment::Script(_, ending) => {
                route.push_str(":file.");
                route.push_str(ending);
            }
            Segment::Rest => route.push_str(":rest"),
        }
    }
}

/// A segment without ending: a word, an id or the rest.
fn plain(segment: &[u8]) -> Segment<'_> {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if segment.is_empty() || !segment.iter().all(is_plain) {
        return Segment::Rest;
    }
    let digits = segment.iter().filter(|byte| byte.is_ascii_digit()).count();
    let is_hex = |byte: &u8| byte.is_ascii_hexdigit() || *byte == b'-';
    let is_id = segment.len() > WORD_BYTES_MAX
        || digits == segment.len()
        || digits >= 4
        || (digits >= 3 && digits * 2 >= segment.len())
        || (segment.len() >= 8 && segment.iter().all(is_hex));
    if is_id { Segment::Id } else { Segment::Word(segment) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alphabet;
    use proptest::prelude::*;

    #[test]
    fn routes_are_these() {
        for (target, expected) in [
            ("/", "/"),
            ("//", "/"),
            ("/?flav=rss20", "/"),
            ("/about", "/about"),
            ("/about/", "/about"),
            ("/About?x=1", "/about"),
            ("/about;jsessionid=77", "/about"),
            ("/wp-login.php?user=ann", "/wp-login.php"),
            ("/wp-login.php/x", "/wp-login.php/:rest"),
            ("/wp-admin/admin-ajax.php", "/wp-admin/:file.php"),
            ("/12345.php", "/:file.php"),
            ("/blog/geekery/installing-windows-8.html", "/blog/:file.html"),
            ("/blog/tags/x11", "/blog/:rest"),
            ("/blog/ann", "/blog/:rest"),
            ("/users/4711", "/users/:id"),
            ("/users/4711/edit", "/users/:id/:rest"),
            ("/users/4711/photo.JPG", "/users/:id/:file.jpg"),
            ("/users/4711/4712", "/users/:id/:rest"),
            ("/users/550e8400-e29b-41d4-a716-446655440000", "/users/:id"),
            ("/550e8400-e29b-41d4-a716-446655440000", "/:id"),
            ("/deadbeef", "/:id"),
            ("/order-48213", "/:id"),
            ("/a1b2c3", "/:id"),
            ("/v2/items", "/v2/:rest"),
            ("/2015/05/a-title", "/:id/:rest"),
            ("/404", "/:id"),
            ("/this-is-a-title-of-a-post-of-mine", "/:id"),
            ("/favicon.ico", "/:file.ico"),
            ("/robots.txt", "/:file.txt"),
            ("/a.tar/b", "/:rest"),
            ("/a.tar/b.css", "/:file.css"),
            ("/~ann/photo.jpg", "/:file.jpg"),
            ("/~ann/", "/:rest"),
            ("/ann@example.com", "/:rest"),
            ("/ann@example.com.html", "/:file.html"),
            ("/caf%C3%A9/x", "/:rest"),
            ("/../../etc/passwd", "/:rest"),
            ("/.git/config", "/:rest"),
            ("/.", "/:rest"),
            ("/x.php.", "/:rest"),
            ("/blog/x.unknown", "/blog/:rest"),
            ("http://host/about?q", "/about"),
            ("HTTPS://host", "/"),
            ("https://ann:pw@host?x/y", "/"),
        ] {
            assert_eq!(route(target.as_bytes()).as_deref(), Some(expected), "{target}");
        }
        for none in ["", "*", "-", "host:443", "about", "ftp://host/about", "\u{16}\u{3}"] {
            assert_eq!(route(none.as_bytes()), None, "{none}");
        }
    }

    proptest! {
        #[test]
        fn every_route_is_a_bounded_name(target in prop::collection::vec(any::<u8>(), 0..200), path in "/[a-zA-Z0-9_./%@~-]{0,90}") {
            for route in [route(&target), route(path.as_bytes())].into_iter().flatten() {
                prop_assert!(route.len() <= 64 && alphabet::is_name(&route), "{}", route);
            }
        }
    }
}

//! Databases that rpm wrote, whole and damaged. `tests/fixtures/rpm/make.sh` makes them.

use std::io::Cursor;

use proptest::prelude::*;
use proptest::sample::Index;

use super::database::{Contents, Format, read};
use super::header::Header;

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/fixtures/rpm/",
            $name
        ))
    };
}

/// What `rpm -qa` says of each of them.
const EXPECTED: &[u8] = fixture!("expected.txt");
const SQLITE: &[u8] = fixture!("rpmdb.sqlite");
const LOG: &[u8] = fixture!("changes-of-rpmdb");
const NDB: &[u8] = fixture!("Packages.db");
const BERKELEY: &[u8] = fixture!("Packages");
const BERKELEY_BIG_ENDIAN: &[u8] = fixture!("Packages.big-endian");

const ALL: [(Format, &[u8]); 4] = [
    (Format::Sqlite, SQLITE),
    (Format::Ndb, NDB),
    (Format::BerkeleyDb, BERKELEY),
    (Format::BerkeleyDb, BERKELEY_BIG_ENDIAN),
];

fn contents(format: Format, file: &[u8], log: Option<&[u8]>) -> Contents {
    read(format, Cursor::new(file), log.map(Cursor::new))
}

/// Writes packages as the query of the script has them.
fn lines(packages: &[Header]) -> Vec<String> {
    let shown = |text: &str| match text {
        "" => "(none)".to_owned(),
        text => text.to_owned(),
    };
    let line = |header: &Header| {
        let epoch = header.epoch.map(|epoch| epoch.to_string());
        [
            &header.name,
            &epoch.unwrap_or_default(),
            &header.version,
            &header.release,
            &header.architecture,
            &header.license,
            &header.vendor,
            &header.packager,
            &header.url,
            &header.source,
        ]
        .map(|text| shown(text))
        .join("|")
    };
    let mut lines: Vec<String> = packages.iter().map(line).collect();
    lines.sort();
    lines
}

fn expected() -> Vec<String> {
    let text = std::str::from_utf8(EXPECTED).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// Checks why a database is not read, or not wholly.
fn check_damage(format: Format, file: &[u8], log: Option<&[u8]>, message: &str) -> Vec<String> {
    let contents = contents(format, file, log);
    let damage = contents.damage.map(|error| error.to_string());
    let damage = damage.unwrap_or_else(|| panic!("{format:?} is not damaged: {message}"));
    assert!(damage.contains(message), "{format:?}: {damage}: {message}");
    lines(&contents.packages)
}

#[test]
fn packages_are_those_that_rpm_lists() {
    for (format, file) in ALL {
        let found = contents(format, file, None);
        assert!(found.damage.is_none(), "{format:?}: {:?}", found.damage);
        assert_eq!(lines(&found.packages), expected(), "{format:?}");
    }
}

#[test]
fn pages_of_a_log_are_newer_than_those_of_the_file() {
    let without = |names: &[&str]| {
        let mut lines = expected();
        lines.retain(|line| !names.iter().any(|name| line.starts_with(name)));
        lines
    };
    let mut changed = LOG.to_vec();
    *changed.last_mut().unwrap() ^= 1;
    let mut other = LOG.to_vec();
    other[0] = 0;
    for (name, log, gone) in [
        ("whole", LOG, &["hello|", "wide|"][..]),
        // The second change is not whole: SQLite does not heed it.
        ("cut", &LOG[..LOG.len() - 1], &["hello|"]),
        ("changed", &changed, &["hello|"]),
        ("empty", &[], &[]),
        ("of something else", &other, &[]),
    ] {
        let found = contents(Format::Sqlite, SQLITE, Some(log));
        assert!(found.damage.is_none(), "{name}: {:?}", found.damage);
        assert_eq!(lines(&found.packages), without(gone), "{name}");
    }
}

#[test]
fn what_is_no_database_says_so() {
    let text = b"{\"name\": \"something else\"}".repeat(100);
    for (format, name) in [
        (Format::Sqlite, "it is no database of SQLite"),
        (Format::Ndb, "it is no database of rpm's own format"),
        (Format::BerkeleyDb, "it is no database of Berkeley DB"),
    ] {
        for file in [&b""[..], b"x", &text] {
            assert!(check_damage(format, file, None, name).is_empty());
        }
    }
}

#[test]
fn what_is_left_of_a_cut_database_is_read() {
    for (format, file) in ALL {
        let left = check_damage(format, &file[..file.len() / 2], None, "behind them");
        let expected = expected();
        assert!(left.len() < expected.len(), "{format:?}: {left:?}");
        assert!(!left.is_empty(), "{format:?}");
        assert!(left.iter().all(|line| expected.contains(line)), "{left:?}");
    }
}

/// Returns a file with other bytes in some places.
fn patched(file: &[u8], patches: &[(usize, &[u8])]) -> Vec<u8> {
    let mut file = file.to_vec();
    for (place, bytes) in patches {
        file[*place..*place + bytes.len()].copy_from_slice(bytes);
    }
    file
}

#[test]
fn what_is_not_supported_is_named() {
    for (format, file, patch, message) in [
        (
            Format::Sqlite,
            SQLITE,
            (16, &[0, 3][..]),
            "pages of another size",
        ),
        (Format::Sqlite, SQLITE, (19, &[3]), "of a later version"),
        (Format::Sqlite, SQLITE, (20, &[255]), ""),
        (Format::Sqlite, SQLITE, (59, &[2]), "in UTF-16"),
        (Format::Ndb, NDB, (4, &[1]), "of a later version"),
        (
            Format::BerkeleyDb,
            BERKELEY,
            (24, &[1]),
            "that is encrypted",
        ),
        (Format::BerkeleyDb, BERKELEY, (26, &[1]), "with checksums"),
        (
            Format::BerkeleyDb,
            BERKELEY,
            (20, &[1]),
            "pages of another size",
        ),
    ] {
        let _ = check_damage(format, &patched(file, &[patch]), None, message);
    }
}

#[test]
fn one_damaged_package_does_not_hide_the_others() {
    // The name of one package: what follows the entry of its name in the index is no text any more.
    let expected = expected();
    for (format, file) in ALL {
        let tag = [0, 0, 3, 0xe8, 0, 0, 0, 6];
        let place = file.windows(8).position(|bytes| bytes == tag).unwrap();
        let file = patched(file, &[(place + 7, &[4])]);
        let left = check_damage(format, &file, None, "should be text");
        assert!(left.len() + 1 >= expected.len(), "{format:?}: {left:?}");
        assert!(left.iter().all(|line| expected.contains(line)), "{left:?}");
    }
}

#[test]
fn nothing_is_read_twice() {
    // Both slots of the first page point to one package.
    let slot = NDB[48..64].to_vec();
    assert_eq!(slot[..4], *b"Slot");
    let slots: Vec<(usize, &[u8])> = (2..256).map(|place| (place * 16, &slot[..])).collect();
    let left = check_damage(
        Format::Ndb,
        &patched(NDB, &slots),
        None,
        "lie in each other",
    );
    assert!(left.len() < 100, "{}", left.len());
    // Each page of a table is the page below it.
    for (format, file, message) in [
        (Format::Sqlite, SQLITE, "is part of two things"),
        (Format::BerkeleyDb, BERKELEY, "is part of two things"),
    ] {
        let file = match format {
            Format::Sqlite => pages_below_themselves(file),
            _ => pages_behind_themselves(file),
        };
        let _ = check_damage(format, &file, None, message);
    }
}

/// Lets the last page below each inner page of SQLite be the page itself.
fn pages_below_themselves(file: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    for (number, page) in file.chunks_exact_mut(4096).enumerate().skip(1) {
        if page[0] == 5 {
            page[8..12].copy_from_slice(&(number as u32 + 1).to_be_bytes());
        }
    }
    file
}

/// Lets each page of bytes of Berkeley DB go on with itself.
fn pages_behind_themselves(file: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    for (number, page) in file.chunks_exact_mut(4096).enumerate() {
        if page[25] == 7 {
            page[16..20].copy_from_slice(&(number as u32).to_le_bytes());
        }
    }
    file
}

#[test]
fn a_page_that_says_to_be_full_of_items_is_one_damage() {
    let mut sqlite = SQLITE.to_vec();
    for page in sqlite.chunks_exact_mut(4096).skip(1) {
        if page[0] == 13 {
            page[3..5].copy_from_slice(&[0xff, 0xff]);
        }
    }
    let mut berkeley = BERKELEY.to_vec();
    for page in berkeley.chunks_exact_mut(4096).skip(1) {
        if page[25] == 13 {
            page[20..22].copy_from_slice(&[0xff, 0xff]);
        }
    }
    for (format, file) in [(Format::Sqlite, sqlite), (Format::BerkeleyDb, berkeley)] {
        let found = contents(format, &file, None);
        assert!(found.damaged <= file.len() / 4096, "{}", found.damaged);
        assert!(
            found
                .damage
                .is_some_and(|error| error.to_string().contains("than it can hold"))
        );
    }
}

/// Writes a header of entries: tag, type and value.
fn blob(entries: &[(u32, u32, &[u8])]) -> Vec<u8> {
    let mut index = Vec::new();
    let mut values = Vec::new();
    for (tag, kind, value) in entries {
        for number in [*tag, *kind, values.len() as u32, 1] {
            index.extend_from_slice(&number.to_be_bytes());
        }
        values.extend_from_slice(value);
    }
    let mut blob = (entries.len() as u32).to_be_bytes().to_vec();
    blob.extend_from_slice(&(values.len() as u32).to_be_bytes());
    blob.extend(index);
    blob.extend(values);
    blob
}

#[test]
fn headers_say_what_their_entries_say() {
    let named: [(u32, u32, &[u8]); 2] = [(1000, 6, b"a\0"), (1001, 6, b"1\0")];
    let with = |more: &[(u32, u32, &[u8])]| blob(&[&named[..], more].concat());
    let mut short = with(&[]);
    short.pop();
    for (blob, expected) in [
        (
            with(&[]),
            Ok("a|(none)|1|(none)|(none)|(none)|(none)|(none)|(none)|(none)"),
        ),
        (
            with(&[
                (1003, 4, &[0, 0, 1, 0]),
                (1002, 6, b"2\0"),
                (1022, 8, b"noarch\0x\0"),
            ]),
            Ok("a|256|1|2|noarch|(none)|(none)|(none)|(none)|(none)"),
        ),
        // Of two the later counts, and what is not there may be written so.
        (
            with(&[
                (1014, 6, b"X\0"),
                (1014, 9, b" Y \0"),
                (1011, 6, b"(none)\0"),
                (9999, 1, b""),
            ]),
            Ok("a|(none)|1|(none)|(none)|Y|(none)|(none)|(none)|(none)"),
        ),
        (
            with(&[(1011, 6, b"\xff\0")]),
            Ok("a|(none)|1|(none)|(none)|(none)|\u{fffd}|(none)|(none)|(none)"),
        ),
        (
            with(&[(1003, 4, &[0, 1])]),
            Err("an epoch that is no number"),
        ),
        (
            with(&[(1003, 6, b"1234\0")]),
            Err("an epoch that is no number"),
        ),
        (with(&[(1011, 6, b"no end")]), Err("should be text")),
        (with(&[(1011, 7, b"bytes\0")]), Err("should be text")),
        (with(&[(1011, 6, &[b'x'; 1 << 17])]), Err("should be text")),
        // What an earlier entry of a tag is does not matter.
        (
            with(&[(1011, 7, b"x"), (1011, 6, b"(none)\0")]),
            Ok("a|(none)|1|(none)|(none)|(none)|(none)|(none)|(none)|(none)"),
        ),
        (blob(&named[..1]), Err("has no name or no version")),
        (short, Err("is shorter than it says")),
        (vec![0xff; 8], Err("is shorter than it says")),
        (vec![0; 7], Err("is shorter than its first line")),
    ] {
        match (Header::parse(&blob), expected) {
            (Ok(header), Ok(expected)) => assert_eq!(lines(&[header]), [expected]),
            (Err(error), Err(expected)) => {
                assert!(error.to_string().contains(expected), "{error}: {expected}");
            }
            (header, expected) => panic!("{header:?}: {expected:?}"),
        }
    }
}

proptest! {
    /// Whatever is changed in a database: it is read to its end, and lists no more than fits into it.
    #[test]
    fn damage_is_never_more_than_damage(
        which in 0..ALL.len(),
        patches in prop::collection::vec((any::<Index>(), any::<u8>()), 1..40),
        cut in prop::option::of(any::<Index>()),
        log in prop::option::of((any::<Index>(), any::<u8>())),
    ) {
        let (format, file) = ALL[which];
        let mut file = file.to_vec();
        for (place, byte) in patches {
            let place = place.index(file.len());
            file[place] = byte;
        }
        if let Some(cut) = cut {
            file.truncate(cut.index(file.len()));
        }
        let log = log.map(|(place, byte)| {
            let mut log = LOG.to_vec();
            log[place.index(LOG.len())] = byte;
            log
        });
        let found = contents(format, &file, log.as_deref());
        // The smallest header has an index of two entries.
        let most = (file.len() + LOG.len()) / 44;
        prop_assert!(found.packages.len() <= most);
    }
}

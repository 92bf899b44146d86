//! What a request says of `/etc/resolv.conf`.

use stagewright_exec::{NameServers, ResolvConf};

use crate::error::{Error, ErrorKind};
use crate::request::{BuildRequest, Network};

/// The word by which no file is put in the place of the image's own.
const NONE: &str = "none";
/// The word for no search domains.
const NO_DOMAIN: &str = ".";

/// Returns what steps see as `/etc/resolv.conf`.
///
/// # Errors
/// [`ErrorKind::Request`] when a server is no address, a word could not stand in the file, or no step
/// has a network.
pub(crate) fn resolv_conf(request: &BuildRequest) -> Result<ResolvConf, Error> {
    let fail = |message: String| Err(Error::new(ErrorKind::Request, message));
    let lists = [&request.dns, &request.dns_search, &request.dns_options];
    if lists.iter().all(|list| list.is_empty()) {
        return Ok(ResolvConf::Host);
    }
    if request.network == Network::None {
        return fail("name servers are for steps that have a network".to_owned());
    }
    if request.dns.iter().any(|word| word == NONE) {
        return match lists.map(Vec::len) {
            [1, 0, 0] => Ok(ResolvConf::Image),
            _ => fail(
                "\"none\" leaves the image's /etc/resolv.conf as it is: name no server, search domain or option with it".to_owned(),
            ),
        };
    }
    let mut servers = Vec::new();
    for text in &request.dns {
        match text.parse() {
            Ok(server) => servers.push(server),
            Err(_) => return fail(format!("{text:?} is no address of a name server")),
        }
    }
    let words = request.dns_search.iter().chain(&request.dns_options);
    for word in words {
        if word.is_empty() || word.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return fail(format!("{word:?} cannot stand in /etc/resolv.conf"));
        }
    }
    let search = &request.dns_search;
    Ok(ResolvConf::With(NameServers {
        servers,
        search: (!search.is_empty()).then(|| {
            search
                .iter()
                .filter(|word| *word != NO_DOMAIN)
                .cloned()
                .collect()
        }),
        options: request.dns_options.clone(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steps_see_is_made_of_what_is_asked_for() {
        let asked = |dns: &[&str], search: &[&str], options: &[&str]| {
            let list = |words: &[&str]| words.iter().map(ToString::to_string).collect();
            let request = BuildRequest {
                dns: list(dns),
                dns_search: list(search),
                dns_options: list(options),
                ..BuildRequest::directory(".")
            };
            resolv_conf(&request).map_err(|error| error.message)
        };
        let with = |servers: &[&str], search: Option<&[&str]>, options: &[&str]| {
            Ok(ResolvConf::With(NameServers {
                servers: servers.iter().map(|text| text.parse().unwrap()).collect(),
                search: search.map(|words| words.iter().map(ToString::to_string).collect()),
                options: options.iter().map(ToString::to_string).collect(),
            }))
        };
        assert_eq!(asked(&[], &[], &[]), Ok(ResolvConf::Host));
        assert_eq!(asked(&["none"], &[], &[]), Ok(ResolvConf::Image));
        assert_eq!(
            asked(&["192.0.2.1", "2001:db8::1"], &["a.example"], &["ndots:2"]),
            with(
                &["192.0.2.1", "2001:db8::1"],
                Some(&["a.example"]),
                &["ndots:2"]
            )
        );
        assert_eq!(asked(&[], &["."], &[]), with(&[], Some(&[]), &[]));
        assert_eq!(asked(&[], &[], &["x"]), with(&[], None, &["x"]));
        for (dns, search, options, expected) in [
            (&["none", "192.0.2.1"][..], &[][..], &[][..], "as it is"),
            (&["none"], &["a"], &[], "as it is"),
            (&["server"], &[], &[], "\"server\" is no address"),
            (&[], &["a\nnameserver 192.0.2.1"], &[], "cannot stand"),
            (&[], &[], &[""], "cannot stand"),
        ] {
            let error = asked(dns, search, options).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        let request = BuildRequest {
            dns: vec!["192.0.2.1".to_owned()],
            network: Network::None,
            ..BuildRequest::directory(".")
        };
        assert!(resolv_conf(&request).is_err());
    }
}

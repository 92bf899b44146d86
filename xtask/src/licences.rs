//! `cargo xtask deny`: every dependency's licence, origin and name against deny.toml. The rules
//! are few and cargo knows everything that they need, so nothing is installed for them.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use spdx::{Expression, ParseMode};

use crate::host;

#[derive(Debug, Deserialize)]
struct Rules {
    licenses: LicenceRules,
    bans: BanRules,
    sources: SourceRules,
}

#[derive(Debug, Deserialize)]
struct LicenceRules {
    allow: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct BanRules {
    deny: Vec<Ban>,
}

#[derive(Debug, Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct SourceRules {
    unknown_registry: String,
    unknown_git: String,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
}

/// Checks every package of the dependency graph; fails with a count when one breaks a rule.
pub(crate) fn run() -> Result<()> {
    let text = fs_err::read_to_string(host::root().join("deny.toml"))?;
    let rules: Rules = toml::from_str(&text).context("reading deny.toml")?;
    let json = host::output(host::cargo().args(["metadata", "--format-version=1", "--locked"]))?;
    let metadata: Metadata = serde_json::from_str(&json).context("reading cargo metadata")?;
    let findings = check(&rules, &metadata.packages)?;
    for finding in &findings {
        println!("{finding}");
    }
    for (name, versions) in duplicates(&metadata.packages) {
        println!(
            "note: {name} is there in {} versions: {}",
            versions.len(),
            versions.join(", ")
        );
    }
    if findings.is_empty() {
        println!("deny: {} packages, nothing to say", metadata.packages.len());
        return Ok(());
    }
    bail!(
        "{} dependencies break the rules of deny.toml",
        findings.len()
    )
}

fn check(rules: &Rules, packages: &[Package]) -> Result<Vec<String>> {
    let allowed = allowed_licences(&rules.licenses.allow)?;
    let mut findings = Vec::new();
    for package in packages {
        let mut say = |what: String| {
            findings.push(format!("{} {}: {what}", package.name, package.version));
        };
        if let Some(problem) = licence_problem(package.license.as_deref(), &allowed) {
            say(problem);
        }
        if let Some(ban) = rules.bans.deny.iter().find(|ban| ban.name == package.name) {
            say(format!("is banned: {}", ban.reason));
        }
        let source = package.source.as_deref().unwrap_or_default();
        if source.starts_with("git+") && rules.sources.unknown_git == "deny" {
            say(format!("comes from a git repository: {source}"));
        }
        // Cargo's default registry is the one written with its name instead of a host.
        let other = source.starts_with("sparse+")
            || (source.starts_with("registry+") && !source.ends_with("/crates.io-index"));
        if other && rules.sources.unknown_registry == "deny" {
            say(format!("comes from another registry: {source}"));
        }
    }
    Ok(findings)
}

fn allowed_licences(allow: &[String]) -> Result<Vec<spdx::Licensee>> {
    allow
        .iter()
        .map(|text| {
            spdx::Licensee::parse(text).with_context(|| format!("deny.toml allows \"{text}\""))
        })
        .collect()
}

/// Returns what is wrong with a licence, or nothing when the allowed ones satisfy it.
fn licence_problem(licence: Option<&str>, allowed: &[spdx::Licensee]) -> Option<String> {
    let Some(text) = licence else {
        return Some("names no licence".to_owned());
    };
    // Older manifests write "MIT/Apache-2.0".
    match Expression::parse_mode(text, ParseMode::LAX) {
        Err(error) => Some(format!(
            "its licence \"{text}\" can't be read: {}",
            error.reason
        )),
        Ok(expression) => {
            let satisfied =
                expression.evaluate(|wanted| allowed.iter().any(|one| one.satisfies(wanted)));
            (!satisfied).then(|| format!("its licence \"{text}\" is not among the allowed"))
        }
    }
}

fn duplicates(packages: &[Package]) -> BTreeMap<&str, Vec<&str>> {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in packages {
        versions
            .entry(&package.name)
            .or_default()
            .push(&package.version);
    }
    versions.retain(|_, list| list.len() > 1);
    versions
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, licence: Option<&str>, source: Option<&str>) -> Package {
        Package {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            license: licence.map(str::to_owned),
            source: source.map(str::to_owned),
        }
    }

    fn check_one(package: Package) -> Vec<String> {
        let rules: Rules = toml::from_str(
            r#"
            licenses.allow = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"]
            bans.deny = [{ crate = "bad", reason = "it is bad" }]
            sources = { unknown-registry = "deny", unknown-git = "deny" }
            "#,
        )
        .expect("because the rules are written here");
        check(&rules, &[package]).expect("because the allowed licences are known")
    }

    #[test]
    fn allowed_licences_pass() {
        let cases = [
            "MIT",
            "MIT OR GPL-3.0-only",
            "MIT/Apache-2.0",
            "MIT AND Apache-2.0",
            "Apache-2.0 WITH LLVM-exception OR MIT",
        ];
        for licence in cases {
            assert_eq!(
                check_one(package("a", Some(licence), None)),
                [""; 0],
                "{licence}"
            );
        }
    }

    #[test]
    fn other_licences_are_found() {
        let cases = [
            None,
            Some("GPL-3.0-only"),
            Some("MIT AND GPL-3.0-only"),
            Some("what is this"),
        ];
        for licence in cases {
            assert_eq!(
                check_one(package("a", licence, None)).len(),
                1,
                "{licence:?}"
            );
        }
    }

    #[test]
    fn banned_names_and_unknown_origins_are_found() {
        let licence = Some("MIT");
        let cases = [
            package("bad", licence, None),
            package("a", licence, Some("git+https://example.com/a")),
            package("a", licence, Some("registry+https://example.com/index")),
        ];
        for package in cases {
            assert_eq!(check_one(package).len(), 1);
        }
    }

    #[test]
    fn the_rules_of_the_repository_can_be_read() {
        let text = include_str!("../../deny.toml");
        let rules: Rules = toml::from_str(text).expect("because deny.toml is written for us");
        allowed_licences(&rules.licenses.allow).expect("because the licences exist");
    }
}

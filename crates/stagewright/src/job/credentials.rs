//! What a request lends to its steps, and no key and no layer knows: secrets and ssh agents.

use std::collections::BTreeMap;

use fs_err as fs;
use stagewright_solver::{Secret, SshAgent};

use crate::error::{Error, ErrorKind};
use crate::failure;
use crate::request::{self, SecretValue};

/// Returns the values of secrets by id. That a file is missing is told at once, as BuildKit's client
/// tells it, and not only when a step asks for it.
pub(super) fn secret_values(given: &[request::Secret]) -> Result<BTreeMap<String, Secret>, Error> {
    let mut values = BTreeMap::new();
    for request::Secret { id, value } in given {
        let value = match value {
            SecretValue::File(path) => {
                fs::metadata(path).map_err(|error| {
                    let why = failure::unreadable(path, &error);
                    Error::new(ErrorKind::Request, format!("the secret {id:?}: {why}"))
                })?;
                Secret::File(path.clone())
            }
            SecretValue::Bytes(bytes) => Secret::Bytes(bytes.clone()),
        };
        values.insert(id.clone(), value);
    }
    Ok(values)
}

pub(super) fn ssh_agents(given: &[request::SshAgent]) -> Result<BTreeMap<String, SshAgent>, Error> {
    let mut agents = BTreeMap::new();
    for request::SshAgent { id, paths } in given {
        let fail = |message: String| {
            Error::new(
                ErrorKind::Request,
                format!("the ssh agent {id:?}: {message}"),
            )
        };
        let agent = SshAgent::open(paths).map_err(|error| fail(error.to_string()))?;
        if agents.insert(id.clone(), agent).is_some() {
            return Err(fail("it is given twice".to_owned()));
        }
    }
    Ok(agents)
}

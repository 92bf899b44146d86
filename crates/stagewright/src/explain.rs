//! What a build would do, and why.

use stagewright_solver::Explained;

use crate::builder::Builder;
use crate::error::Error;
use crate::job;
use crate::request::BuildRequest;

impl Builder {
    /// Says for every vertex of a build whether its result is in the cache, and why not. Runs nothing, and leaves the
    /// cache as it is. Bases are resolved as a build resolves them, which may ask a registry for a tag's digest. Blocks.
    ///
    /// # Errors
    /// What a build would fail with before it runs a step.
    pub fn explain(&self, request: BuildRequest) -> Result<Vec<Explained>, Error> {
        self.ask(|builder| job::explain(builder, request))
    }
}

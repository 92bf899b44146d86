//! `stagewright inspect`.

use serde_json::json;
use stagewright::Builder;

use crate::arguments::InspectArguments;
use crate::failure::Failure;

/// Prints an image's id, names and config as JSON.
pub(crate) fn run(builder: &Builder, arguments: &InspectArguments) -> Result<(), Failure> {
    let image = builder.image(&arguments.image)?;
    let config: serde_json::Value = serde_json::from_slice(&image.config().encode())
        .map_err(|error| anyhow::anyhow!("the image's config is no JSON: {error}"))?;
    let document = json!({
        "id": image.id().to_string(),
        "names": image.names(),
        "config": config,
    });
    println!("{document:#}");
    Ok(())
}

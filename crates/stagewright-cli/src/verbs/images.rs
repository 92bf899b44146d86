//! `stagewright images`, `rmi` and `tag`.

use serde_json::json;
use stagewright::Builder;

use super::table::{bytes, table};
use crate::arguments::{Format, ImagesArguments, RmiArguments, TagArguments};
use crate::failure::Failure;

/// As many digits of an id as are shown.
const ID_DIGITS: usize = 12;

/// Prints the names in the store.
pub(crate) fn list(builder: &Builder, arguments: &ImagesArguments) -> Result<(), Failure> {
    let images = builder.images()?;
    if arguments.quiet {
        images.iter().for_each(|image| println!("{}", image.id));
        return Ok(());
    }
    match arguments.format {
        Format::Table => {
            let rows: Vec<Vec<String>> = images
                .iter()
                .map(|image| vec![image.name.clone(), short(&image.id), bytes(image.bytes)])
                .collect();
            print!(
                "{}",
                table(&["NAME", "ID", "BYTES"], &[false, false, true], &rows)
            );
        }
        Format::Json => {
            let images: Vec<_> = images
                .iter()
                .map(|image| {
                    json!({
                        "name": image.name,
                        "id": image.id,
                        "tagged_unix_ms": image.tagged_unix_ms,
                        "bytes": image.bytes,
                    })
                })
                .collect();
            println!("{:#}", json!(images));
        }
    }
    Ok(())
}

/// Removes names from the store.
pub(crate) fn remove(builder: &Builder, arguments: &RmiArguments) -> Result<(), Failure> {
    for name in &arguments.images {
        builder.remove_image(name)?;
    }
    Ok(())
}

/// Gives an image another name.
pub(crate) fn tag(builder: &Builder, arguments: &TagArguments) -> Result<(), Failure> {
    Ok(builder.tag_image(&arguments.image, &arguments.name)?)
}

fn short(id: &str) -> String {
    id.trim_start_matches("sha256:")
        .chars()
        .take(ID_DIGITS)
        .collect()
}

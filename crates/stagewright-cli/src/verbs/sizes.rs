//! `stagewright sizes`.

use serde_json::json;
use stagewright::{Builder, ImageSizes};

use super::table::{bytes, table};
use crate::arguments::{Format, SizesArguments};
use crate::failure::Failure;

/// Instructions are cut to what fits a terminal beside the numbers.
const INSTRUCTION_CHARACTERS_MAX: usize = 80;

/// Prints the bytes of an image by stage and by layer, and what the stages saved.
pub(crate) fn run(builder: &Builder, arguments: &SizesArguments) -> Result<(), Failure> {
    let sizes = builder.image(&arguments.image)?.sizes()?;
    match arguments.format {
        Format::Table => print!("{}", text(&sizes)),
        Format::Json => println!("{:#}", document(&sizes)),
    }
    Ok(())
}

fn text(sizes: &ImageSizes) -> String {
    let mut text = String::new();
    if !sizes.stages.is_empty() {
        let rows: Vec<Vec<String>> = sizes
            .stages
            .iter()
            .map(|(name, size)| vec![name.clone(), bytes(*size)])
            .collect();
        text += &table(&["STAGE", "BYTES"], &[false, true], &rows);
        text += "\n";
    }
    let rows: Vec<Vec<String>> = sizes
        .layers
        .iter()
        .map(|layer| {
            let cut: String = layer
                .created_by
                .chars()
                .take(INSTRUCTION_CHARACTERS_MAX)
                .collect();
            vec![bytes(layer.bytes), cut]
        })
        .collect();
    text += &table(&["BYTES", "LAYER"], &[true, false], &rows);
    text += &format!("\nimage: {}", bytes(sizes.total_bytes));
    if sizes.saved_bytes > 0 {
        text += &format!("; its stages saved {}", bytes(sizes.saved_bytes));
    }
    text + "\n"
}

fn document(sizes: &ImageSizes) -> serde_json::Value {
    let stage = |(name, bytes): &(String, u64)| json!({ "name": name, "bytes": bytes });
    json!({
        "stages": sizes.stages.iter().map(stage).collect::<Vec<_>>(),
        "layers": sizes.layers.iter().map(|layer| json!({
            "created_by": layer.created_by,
            "diff_id": layer.diff_id,
            "bytes": layer.bytes,
        })).collect::<Vec<_>>(),
        "total_bytes": sizes.total_bytes,
        "saved_bytes": sizes.saved_bytes,
    })
}

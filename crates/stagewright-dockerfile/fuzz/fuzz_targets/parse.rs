//! Whatever comes as a Dockerfile: parsing and checking do not panic, errors and instructions have
//! places in the file, and they can be drawn.

#![no_main]

use libfuzzer_sys::fuzz_target;
use stagewright_dockerfile::checks::{CheckContext, check};
use stagewright_dockerfile::{Diagnostic, Dockerfile, Span};

fuzz_target!(|bytes: &[u8]| {
    let source = String::from_utf8_lossy(bytes);
    let lines = source.matches('\n').count() + 1;
    let in_file = |span: Span| {
        assert!(span.start.line >= 1 && span.start.column >= 1, "{span:?}");
        assert!(span.end.line as usize <= lines + 1, "{span:?} of {lines}");
        assert!(span.start <= span.end, "{span:?}");
    };
    match Dockerfile::parse(bytes) {
        Ok(dockerfile) => {
            assert!(!dockerfile.stages.is_empty());
            for stage in &dockerfile.stages {
                in_file(stage.span);
                for line in &stage.instructions {
                    in_file(line.span);
                }
            }
            let _ = check(&dockerfile, &CheckContext::default());
        }
        Err(error) => {
            in_file(error.span);
            let _ = Diagnostic::of(&error, "Dockerfile", &source).to_string();
        }
    }
});

//! Stages in code, and the Dockerfile that says the same.
#![expect(clippy::print_stdout, reason = "what it says is what it is for")]

use stagewright::{BuildRequest, Builder, BuilderOptions, Mount, RunStep, SecretValue, Stage};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tools = Stage::from("alpine:3.10")
        .named("tools")
        .workdir("/build")
        .copy(["src"], "src");
    let script = r#"cat src/* "$(test -n "$TOKEN" && echo /dev/null)" > all.txt"#;
    let made = tools.run_with(
        RunStep::shell(script)
            .mount(Mount::Secret {
                id: "token".to_owned(),
                target: None,
                env: Some("TOKEN".to_owned()),
                value: Some(SecretValue::Bytes(b"hidden".to_vec())),
            })
            .mount(Mount::Cache {
                target: "/root/.cache".to_owned(),
                id: None,
                sharing: None,
            }),
    );
    let app = Stage::scratch()
        .copy_from(&made, ["/build/all.txt"], "/")
        .env("LANG", "C")
        .cmd(["/all.txt"]);

    let options = BuilderOptions::of_user(None, &|name| std::env::var(name).ok())?;
    let image = Builder::open(options)?
        .build(BuildRequest::stage(app.clone(), "."))
        .wait()?;
    println!(
        "{}",
        image
            .config()
            .config
            .cmd
            .clone()
            .unwrap_or_default()
            .join(",")
    );
    print!("{}", app.to_dockerfile()?);
    Ok(())
}

//! `stagewright push`, and `build --push`.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Instant;

use stagewright::{Builder, Export, Exported, Image, Push, PushEvents, push_images};

use super::interrupts::Interrupts;
use super::watch::{self, Screen};
use crate::arguments::PushArguments;
use crate::failure::Failure;

/// Pushes images that are in the store.
pub(crate) fn run(builder: &Builder, arguments: &PushArguments) -> Result<(), Failure> {
    let screen = Screen::new(arguments.progress.or_quiet(arguments.quiet));
    for name in &arguments.images {
        let images = builder.image_platforms(name)?;
        let push = Push {
            insecure: arguments.insecure,
            ..Push::default()
        };
        let pushed = push_shown(
            &images.iter().collect::<Vec<_>>(),
            &Export::default(),
            &push,
            &screen,
        )?;
        if let Some(digest) = pushed.manifest.filter(|_| screen.is_quiet()) {
            println!("{digest}");
        }
    }
    Ok(())
}

/// Pushes an image of one or several platforms, shows how far it is, and returns its digest.
pub(crate) fn push_shown(
    images: &[&Image],
    export: &Export,
    push: &Push,
    screen: &Screen,
) -> Result<Exported, Failure> {
    shown(screen, |events| push_images(images, export, push, events))
}

/// Does something that tells of its progress, and shows it.
pub(crate) fn shown<T: Send>(
    screen: &Screen,
    work: impl FnOnce(PushEvents) -> Result<T, stagewright::Error> + Send,
) -> Result<T, Failure> {
    // Nothing has to be tidied up: what was sent stays with the registry, tags come last.
    let _signals = Interrupts::listen(|| std::process::exit(130))?;
    let mut renderer = screen.renderer();
    let started = Instant::now();
    let (sender, events) = channel();
    let result = thread::scope(|scope| {
        let pushing = scope.spawn(move || {
            let events = Arc::new(move |event| {
                // Nobody has to listen.
                let _ = sender.send(event);
            });
            work(events)
        });
        loop {
            match events.recv_timeout(watch::TICK) {
                Ok(event) => {
                    for update in watch::updates_of(event) {
                        renderer.update(&update)?;
                    }
                }
                Err(RecvTimeoutError::Timeout) => renderer.tick(started.elapsed())?,
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let result = pushing
            .join()
            .map_err(|_| anyhow::anyhow!("pushing stopped unexpectedly"))?;
        renderer.finish(started.elapsed(), result.is_ok())?;
        Ok::<_, Failure>(result)
    })?;
    Ok(result?)
}

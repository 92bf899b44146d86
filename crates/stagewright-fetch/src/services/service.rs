//! A cache in a service: found, read and written.

use std::future::Future;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::SystemTime;

use reqwest::Response;
use reqwest::header::LAST_MODIFIED;
use stagewright_oci::{Descriptor, MANIFEST_BYTES_MAX, OutgoingBlob, OutgoingImage, media_type};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::actions::Actions;
use super::azure::Azure;
use super::call::{Call, Caller};
use super::environment::ServiceEnvironment;
use super::error::ServiceError;
use super::object::{Object, ObjectRequest};
use super::place::ServicePlace;
use super::s3::S3;
use crate::answer::header;
use crate::blob_download::Progress;
use crate::blob_upload::{PushEvent, PushProgress};
use crate::http_fetch::{HttpAnswer, HttpClient, HttpError, HttpRequest};
use crate::options::NetworkOptions;
use crate::target::{Boxed, Opened, Target};

/// How many blobs are sent at once.
const UPLOADS: usize = 4;

/// A service, and the place in it where a cache is. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CacheService {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shown: String,
    service: Service,
    caller: Caller,
    uploads: usize,
}

#[derive(Debug)]
enum Service {
    S3(S3),
    Azure(Azure),
    Actions(Actions),
}

impl CacheService {
    /// Gets ready to ask a service. Nothing is asked yet.
    ///
    /// # Errors
    /// [`ServiceError::Settings`] when something is missing or wrong that it takes to ask.
    pub fn open(
        place: &ServicePlace,
        environment: &ServiceEnvironment,
        mut network: NetworkOptions,
    ) -> Result<Self, ServiceError> {
        let mut uploads = UPLOADS;
        let (service, name) = match place {
            ServicePlace::S3(place) => {
                network.retries.attempts_max = place
                    .retry_max_attempts
                    .unwrap_or(network.retries.attempts_max);
                uploads = place.upload_parallelism.unwrap_or(uploads);
                (Service::S3(S3::new(place, environment)?), S3::SERVICE)
            }
            ServicePlace::Azure(place) => (
                Service::Azure(Azure::new(place, environment)?),
                Azure::SERVICE,
            ),
            ServicePlace::Actions(place) => (
                Service::Actions(Actions::new(place, environment)?),
                Actions::SERVICE,
            ),
        };
        Ok(Self {
            inner: Arc::new(Inner {
                shown: place.shown(),
                service,
                caller: Caller {
                    service: name,
                    http: HttpClient::new(network),
                },
                uploads: uploads.max(1),
            }),
        })
    }

    /// Reads the manifest of the cache.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] when there is none of its name.
    pub fn fetch_manifest(&self) -> Boxed<'_, Result<Vec<u8>, ServiceError>> {
        Box::pin(self.in_time(self.manifest()))
    }

    async fn manifest(&self) -> Result<Vec<u8>, ServiceError> {
        let object = Object::Manifest(self.names()[0].clone());
        let mut opened = Opened::new(|| Ok(Vec::new()));
        self.download(&object, &mut opened, MANIFEST_BYTES_MAX, &|_| {})
            .await?;
        Ok(opened.finish())
    }

    /// Downloads a blob and returns the writer that holds all of it, checked.
    ///
    /// `open` gives an empty writer; it is called again when the transfer has to begin anew.
    ///
    /// # Errors
    /// When it cannot be had, or is not what the descriptor says.
    pub async fn fetch_blob<W: Write + Send>(
        &self,
        descriptor: &Descriptor,
        open: impl FnMut() -> io::Result<W> + Send,
        progress: Progress<'_>,
    ) -> Result<W, ServiceError> {
        let mut opened = Opened::new(open);
        self.fetch_into(descriptor, &mut opened, progress).await?;
        Ok(opened.finish())
    }

    fn fetch_into<'a>(
        &'a self,
        descriptor: &'a Descriptor,
        target: &'a mut dyn Target,
        progress: Progress<'a>,
    ) -> Boxed<'a, Result<(), ServiceError>> {
        Box::pin(async move {
            let object = Object::Blob(descriptor.digest);
            self.download(&object, target, descriptor.size, progress)
                .await
        })
    }

    async fn download(
        &self,
        object: &Object,
        target: &mut dyn Target,
        bytes_max: u64,
        progress: Progress<'_>,
    ) -> Result<(), ServiceError> {
        let Inner {
            service, caller, ..
        } = &*self.inner;
        let not_found = || ServiceError::NotFound {
            service: caller.service,
            what: object.shown(),
            message: String::new(),
        };
        let url = match service {
            Service::S3(s3) => s3.get(object),
            Service::Azure(azure) => azure.get(object),
            Service::Actions(actions) => {
                actions.find(caller, object).await?.ok_or_else(not_found)?
            }
        };
        let request = HttpRequest {
            url: url.to_string(),
            expected: match object {
                Object::Blob(digest) => Some(*digest),
                Object::Manifest(_) => None,
            },
            bytes_max: Some(bytes_max),
            ..HttpRequest::default()
        };
        match caller.http.fetch_into(&request, target, progress).await {
            Ok(HttpAnswer::File(_)) => Ok(()),
            // No earlier answer was named that it could be the same as.
            Ok(HttpAnswer::NotModified) | Err(HttpError::Status { status: 404, .. }) => {
                Err(not_found())
            }
            Err(HttpError::Status {
                status: 401 | 403, ..
            }) => Err(ServiceError::Denied {
                service: caller.service,
                what: object.shown(),
                message: String::new(),
            }),
            Err(source) => Err(ServiceError::Download {
                service: caller.service,
                source: Box::new(source),
            }),
        }
    }

    /// Writes a cache: its blobs that are not there, then its manifest under each of its names.
    ///
    /// # Errors
    /// When the service cannot be reached or refuses.
    pub fn push<'a>(
        &'a self,
        cache: &'a OutgoingImage,
        progress: PushProgress,
    ) -> Boxed<'a, Result<(), ServiceError>> {
        Box::pin(self.in_time(self.write_all(cache, progress)))
    }

    /// Does work as long as it may take, where that is limited.
    async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, ServiceError>>,
    ) -> Result<T, ServiceError> {
        let Service::Actions(actions) = &self.inner.service else {
            return work.await;
        };
        let timeout = actions.timeout;
        let done = tokio::time::timeout(timeout, work).await;
        done.unwrap_or_else(|_| {
            Err(ServiceError::Timeout {
                service: self.inner.caller.service,
                seconds: timeout.as_secs(),
            })
        })
    }

    async fn write_all(
        &self,
        cache: &OutgoingImage,
        progress: PushProgress,
    ) -> Result<(), ServiceError> {
        if let Service::Azure(azure) = &self.inner.service {
            self.make_container(azure).await?;
        }
        let turns = Arc::new(Semaphore::new(self.inner.uploads));
        // Ends the other uploads when one fails, or when this future is dropped.
        let mut uploads = JoinSet::new();
        let is_manifest =
            |blob: &&OutgoingBlob| media_type::is_manifest(&blob.descriptor.media_type);
        for blob in cache.blobs().iter().filter(|blob| !is_manifest(blob)) {
            let (service, blob, turns, progress) = (
                self.clone(),
                blob.clone(),
                Arc::clone(&turns),
                Arc::clone(&progress),
            );
            uploads.spawn(async move {
                let _turn = turns
                    .acquire()
                    .await
                    .expect("because the semaphore is never closed");
                service.write_blob(&blob, &progress).await
            });
        }
        while let Some(result) = uploads.join_next().await {
            result.map_err(|error| ServiceError::Local {
                what: self.inner.shown.clone(),
                source: io::Error::other(error),
            })??;
        }
        for manifest in cache.blobs().iter().filter(is_manifest) {
            for name in self.names() {
                let object = Object::Manifest(name.clone());
                self.write(&object, manifest, &progress).await?;
            }
        }
        Ok(())
    }

    async fn write_blob(
        &self,
        blob: &OutgoingBlob,
        progress: &PushProgress,
    ) -> Result<(), ServiceError> {
        let object = Object::Blob(blob.descriptor.digest);
        if self.exists(&object).await? {
            progress(PushEvent::Exists(blob.descriptor.clone()));
            return Ok(());
        }
        self.write(&object, blob, progress).await
    }

    async fn write(
        &self,
        object: &Object,
        blob: &OutgoingBlob,
        progress: &PushProgress,
    ) -> Result<(), ServiceError> {
        let Inner {
            service, caller, ..
        } = &*self.inner;
        let what = object.shown();
        match service {
            Service::S3(s3) => caller.put(&s3.put(object), blob, &what, progress).await,
            Service::Azure(azure) => caller.put(&azure.put(object), blob, &what, progress).await,
            Service::Actions(actions) => actions.write(caller, object, blob, progress).await,
        }
    }

    /// Says whether an object is there. One of S3 that has not been written for long is made new.
    async fn exists(&self, object: &Object) -> Result<bool, ServiceError> {
        let Inner {
            service, caller, ..
        } = &*self.inner;
        match service {
            Service::S3(s3) => {
                let Some(response) = self.head(s3.head(object), object).await? else {
                    return Ok(false);
                };
                let written =
                    header(&response, LAST_MODIFIED.as_str()).and_then(crate::http_date::parse);
                let age = written.and_then(|at| SystemTime::now().duration_since(at).ok());
                if age.is_some_and(|age| age > s3.touch_refresh) {
                    let what = object.shown();
                    let call = Call::new(s3.touch(object), &what);
                    caller.copy(&call).await?;
                }
                Ok(true)
            }
            Service::Azure(azure) => Ok(self.head(azure.head(object), object).await?.is_some()),
            Service::Actions(actions) => Ok(actions.find(caller, object).await?.is_some()),
        }
    }

    async fn head(
        &self,
        request: ObjectRequest,
        object: &Object,
    ) -> Result<Option<Response>, ServiceError> {
        match self.ask(request, &object.shown()).await {
            Ok(response) => Ok(Some(response)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn ask(&self, request: ObjectRequest, what: &str) -> Result<Response, ServiceError> {
        self.inner.caller.call(&Call::new(request, what)).await
    }

    /// Makes the container of a cache. Who may not make one may write into one that is there.
    async fn make_container(&self, azure: &Azure) -> Result<(), ServiceError> {
        match self.ask(azure.make_container(), "the container").await {
            Ok(_) | Err(ServiceError::Status { status: 409, .. } | ServiceError::Denied { .. }) => {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn names(&self) -> &[String] {
        match &self.inner.service {
            Service::S3(s3) => &s3.names.caches,
            Service::Azure(azure) => &azure.names.caches,
            Service::Actions(actions) => actions.names(),
        }
    }
}

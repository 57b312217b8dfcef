//! What happens to the objects of one kind: a list, then a watch from its version, for ever. `kube::runtime::watcher` does the
//! same and says neither the version of its list nor those of bookmarks, without which two states cannot be compared.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::runtime::utils::Backoff as _;
use kube::runtime::watcher::{Error, Event};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

use super::watch::Waits;

/// Objects of one page of a list, as in client-go.
const PAGE: u32 = 500;
/// The API server ends a watch within five minutes: one that is silent for longer is lost.
const SILENCE: Duration = Duration::from_secs(310);
/// Too old a version to go on from.
const GONE: u16 = 410;

/// One thing that is heard.
#[derive(Debug)]
pub(super) enum News<K> {
    /// Of objects.
    Event(Event<K>),
    /// What is coming as a list, or was told so far, is so in this version.
    Reached(String),
}

enum At<K> {
    /// Nothing is known.
    Nowhere,
    /// In a list, with the token of its next page.
    Within(Vec<K>, Next),
    /// All of this version is told.
    Told(String),
    Watching(String, BoxStream<'static, kube::Result<WatchEvent<K>>>),
}

/// What comes after a page.
enum Next {
    Page(Option<String>),
    /// None: the version of the list is said next.
    End(String, bool),
}

/// A list and a watch. After an error it goes on where it was, later and later.
pub(super) struct Tail<'a, K> {
    api: &'a Api<K>,
    at: At<K>,
    waits: Waits,
    failed: bool,
}

impl<'a, K> Tail<'a, K>
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    pub(super) fn new(api: &'a Api<K>) -> Self {
        Self { api, at: At::Nowhere, waits: Waits::default(), failed: false }
    }

    /// Waits for what comes next. Not to be dropped before that, unless nothing more is asked.
    pub(super) async fn next(&mut self) -> Result<News<K>, Error> {
        if self.failed {
            tokio::time::sleep(self.waits.next().unwrap_or_default()).await;
        }
        let next = loop {
            match self.step().await {
                Ok(Some(news)) => break Ok(news),
                Ok(None) => {}
                Err(error) => break Err(error),
            }
        };
        self.failed = next.is_err();
        // That a list begins is no success.
        if !matches!(next, Err(_) | Ok(News::Event(Event::Init))) {
            self.waits.reset();
        }
        next
    }

    async fn step(&mut self) -> Result<Option<News<K>>, Error> {
        match std::mem::replace(&mut self.at, At::Nowhere) {
            At::Nowhere => {
                self.at = At::Within(Vec::new(), Next::Page(None));
                Ok(Some(News::Event(Event::Init)))
            }
            At::Within(objects, next) => self.within(objects, next).await,
            At::Told(version) => {
                // Where it cannot be watched now, it is told all the same.
                self.at = At::Told(version.clone());
                let stream =
                    self.api.watch(&WatchParams::default(), &version).await.map_err(Error::WatchStartFailed)?;
                self.at = At::Watching(version, stream.boxed());
                Ok(None)
            }
            At::Watching(version, mut stream) => {
                let event = tokio::time::timeout(SILENCE, stream.next()).await.ok().flatten();
                self.watched(version, stream, event)
            }
        }
    }

    async fn within(&mut self, mut objects: Vec<K>, next: Next) -> Result<Option<News<K>>, Error> {
        if let Some(object) = objects.pop() {
            self.at = At::Within(objects, next);
            return Ok(Some(News::Event(Event::InitApply(object))));
        }
        match next {
            Next::Page(token) => {
                let params = ListParams { limit: Some(PAGE), continue_token: token, ..ListParams::default() };
                let list = self.api.list(&params).await.map_err(Error::InitialListFailed)?;
                let text = |text: Option<String>| text.filter(|text| !text.is_empty());
                let (token, version) = (text(list.metadata.continue_), text(list.metadata.resource_version));
                let next = match (token, version) {
                    (Some(token), _) => Next::Page(Some(token)),
                    (None, Some(version)) => Next::End(version, false),
                    (None, None) => return Err(Error::NoResourceVersion),
                };
                self.at = At::Within(list.items, next);
                Ok(None)
            }
            Next::End(version, false) => {
                self.at = At::Within(objects, Next::End(version.clone(), true));
                Ok(Some(News::Reached(version)))
            }
            Next::End(version, true) => {
                self.at = At::Told(version);
                Ok(Some(News::Event(Event::InitDone)))
            }
        }
    }

    fn watched(
        &mut self,
        version: String,
        stream: BoxStream<'static, kube::Result<WatchEvent<K>>>,
        event: Option<kube::Result<WatchEvent<K>>>,
    ) -> Result<Option<News<K>>, Error> {
        let (version, news) = match event {
            // It ends now and then.
            None => {
                self.at = At::Told(version);
                return Ok(None);
            }
            Some(Err(error)) => {
                self.at = At::Told(version);
                return Err(Error::WatchFailed(error));
            }
            Some(Ok(WatchEvent::Error(status))) => {
                if status.code != GONE {
                    self.at = At::Told(version);
                }
                return Err(Error::WatchError(status));
            }
            Some(Ok(WatchEvent::Bookmark(mark))) => {
                let version = mark.metadata.resource_version;
                (version.clone(), News::Reached(version))
            }
            Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object))) => {
                (object.resource_version().unwrap_or_default(), News::Event(Event::Apply(object)))
            }
            Some(Ok(WatchEvent::Deleted(object))) => {
                (object.resource_version().unwrap_or_default(), News::Event(Event::Delete(object)))
            }
        };
        if version.is_empty() {
            return Err(Error::NoResourceVersion);
        }
        self.at = At::Watching(version, stream);
        Ok(Some(news))
    }
}

/// The version in which ConfigMaps are now, before some are read by name: what is read then is no older. What changes
/// between the two is known too late by so much.
pub(super) async fn now(client: &Client, own_namespace: &str) -> kube::Result<String> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), own_namespace);
    let list = api.list(&ListParams::default().limit(1)).await?;
    Ok(list.metadata.resource_version.unwrap_or_default())
}

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::Resource;

use crate::control::feed::Edition;

type Names<K> = BTreeMap<Arc<str>, Arc<K>>;

/// All objects of one kind by namespace and name. Immutable to whoever holds a clone, which costs nothing; a change
/// copies the names of one namespace.
#[derive(Debug)]
pub struct Listing<K> {
    namespaces: Arc<BTreeMap<Arc<str>, Arc<Names<K>>>>,
    edition: Edition,
}

impl<K> Clone for Listing<K> {
    fn clone(&self) -> Self {
        Self { namespaces: Arc::clone(&self.namespaces), edition: self.edition }
    }
}

impl<K> Default for Listing<K> {
    fn default() -> Self {
        Self { namespaces: Arc::default(), edition: Edition::default() }
    }
}

impl<K> Listing<K> {
    /// One object; cluster-wide kinds are in the namespace `""`.
    pub fn get(&self, namespace: &str, name: &str) -> Option<&Arc<K>> {
        self.namespaces.get(namespace)?.get(name)
    }

    /// Every object, in order of namespace and name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<K>> {
        self.namespaces.values().flat_map(|names| names.values())
    }

    /// The objects of one namespace, in order of names.
    pub fn within(&self, namespace: &str) -> impl Iterator<Item = &Arc<K>> {
        self.namespaces.get(namespace).into_iter().flat_map(|names| names.values())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.namespaces.values().map(|names| names.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.namespaces.is_empty()
    }

    /// Whether both are the same edition: nothing was changed in between.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.namespaces, &other.namespaces)
    }

    /// What it holds and how far it was followed, to be compared to that of another replica.
    pub fn edition(&self) -> Edition {
        self.edition
    }

    /// It is so in the API server's version `version`.
    pub(super) fn reached(&mut self, version: &str) {
        self.edition.reached(version);
    }
}

impl<K: Resource> Listing<K> {
    pub(super) fn put(&mut self, object: K) {
        let (namespace, name) = key(&object);
        if let Some(before) = self.get(namespace, name).cloned() {
            self.edition.remove((namespace, name, version(&*before)));
        }
        self.edition.put((namespace, name, version(&object)));
        self.edition.reached(version(&object));
        let names = Arc::make_mut(&mut self.namespaces).entry(namespace.into()).or_default();
        Arc::make_mut(names).insert(name.into(), Arc::new(object));
    }

    /// `object` is as it was last, under the version in which it went.
    pub(super) fn remove(&mut self, object: &K) {
        let (namespace, name) = key(object);
        if let Some(before) = self.get(namespace, name).cloned() {
            self.edition.remove((namespace, name, version(&*before)));
        }
        self.edition.reached(version(object));
        let namespaces = Arc::make_mut(&mut self.namespaces);
        let Some(names) = namespaces.get_mut(namespace) else { return };
        Arc::make_mut(names).remove(name);
        if names.is_empty() {
            namespaces.remove(namespace);
        }
    }
}

impl<K: Resource> FromIterator<K> for Listing<K> {
    fn from_iter<I: IntoIterator<Item = K>>(objects: I) -> Self {
        let mut listing = Self::default();
        objects.into_iter().for_each(|object| listing.put(object));
        listing
    }
}

/// Namespace (`""` for cluster-wide kinds) and name.
pub fn key<K: Resource>(object: &K) -> (&str, &str) {
    let meta = object.meta();
    (meta.namespace.as_deref().unwrap_or(""), meta.name.as_deref().unwrap_or(""))
}

fn version<K: Resource>(object: &K) -> &str {
    object.meta().resource_version.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;

    use super::*;

    fn service(namespace: &str, name: &str) -> Service {
        let mut service = Service::default();
        (service.metadata.namespace, service.metadata.name) = (Some(namespace.to_owned()), Some(name.to_owned()));
        service
    }

    #[test]
    fn an_edition_is_of_what_is_there_and_not_of_how_it_came() {
        let versioned = |name: &str, version: &str| {
            let mut service = service("a", name);
            service.metadata.resource_version = Some(version.to_owned());
            service
        };
        let mut listing: Listing<Service> = [versioned("x", "3"), versioned("y", "5")].into_iter().collect();
        listing.put(versioned("x", "6"));
        listing.remove(&versioned("y", "8"));
        listing.remove(&versioned("never", "7"));
        let mut listed: Listing<Service> = [versioned("x", "6")].into_iter().collect();
        assert_ne!(listed.edition(), listing.edition(), "how far it was followed");
        listed.reached("8");
        assert_eq!(listed.edition(), listing.edition());
        listed.put(versioned("x", "9"));
        assert_ne!(listed.edition(), listing.edition());
    }

    #[test]
    fn a_clone_does_not_see_later_changes() {
        let mut listing: Listing<Service> =
            [service("a", "x"), service("b", "y"), service("a", "w")].into_iter().collect();
        let before = listing.clone();
        assert!(before.is_same(&listing));
        listing.remove(&service("b", "y"));
        listing.put(service("a", "z"));
        assert!(!before.is_same(&listing));
        let names = |listing: &Listing<Service>| -> Vec<String> {
            listing.iter().map(|one| key(&**one)).map(|(namespace, name)| format!("{namespace}/{name}")).collect()
        };
        assert_eq!(names(&before), ["a/w", "a/x", "b/y"]);
        assert_eq!(names(&listing), ["a/w", "a/x", "a/z"]);
        assert_eq!((listing.len(), listing.within("a").count(), listing.within("b").count()), (3, 3, 0));
        assert!(listing.get("a", "z").is_some() && listing.get("b", "y").is_none());
        listing.remove(&service("nowhere", "y"));
    }
}

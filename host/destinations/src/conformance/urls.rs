//! The URLs of a kind.

use super::subject::Subject;
use crate::url::DestinationUrl;

/// What people are shown as an example can be typed.
pub fn its_example_is_one_of_its_urls(subject: &dyn Subject) {
    let about = subject.kind().about();
    for text in [about.form, about.example] {
        let scheme = text.split_once(':').map(|(scheme, _)| scheme);
        assert!(scheme.is_some_and(|scheme| about.schemes.contains(&scheme)), "{text}");
    }
    let url = DestinationUrl::of_kinds(about.example, &[subject.kind()]).unwrap();
    assert_eq!(url.to_string(), about.example);
    let again = DestinationUrl::of_kinds(&url.to_string(), &[subject.kind()]).unwrap();
    assert_eq!(again, url);
}

/// Neither a refusal nor a URL that was understood shows one, wherever it stands.
pub fn no_password_is_repeated(subject: &dyn Subject) {
    for scheme in subject.kind().about().schemes {
        for place in [
            "//user:hunter2@host/db",
            "//host/db?password=hunter2",
            "user:hunter2@host",
            "postgres://user:hunter2@host/db",
            "s3://id:hunter2@bucket/x",
            "\u{0}user:hunter2@host",
        ] {
            match DestinationUrl::of_kinds(&format!("{scheme}:{place}"), &[subject.kind()]) {
                Ok(url) => {
                    // A place of this machine may be called like that.
                    let is_path = url.claims().iter().any(|claim| claim.path().to_string_lossy().contains("hunter2"));
                    let shown = format!("{url} {url:?}");
                    assert!(is_path || !shown.contains("hunter2"), "{shown}");
                }
                Err(refusal) => assert!(!refusal.to_string().contains("hunter2"), "{refusal}"),
            }
        }
    }
}

/// Two places can be told apart by what they claim, and one place claims the same however it is spelled.
pub fn each_place_has_its_own_claims(subject: &dyn Subject) {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let claims = |folder: &std::path::Path| {
        let url = subject.url(folder).resolved(folder).unwrap();
        assert_eq!(url.resolved(std::path::Path::new("/")).unwrap(), url, "resolved once is resolved");
        url.claims()
    };
    let [first, second] = [0, 1].map(|index| claims(folders[index].path()));
    assert!(!first.is_empty());
    assert!(first.iter().all(|claim| !second.contains(claim)));
    let detour = folders[0].path().join("..").join(folders[0].path().file_name().unwrap());
    assert_eq!(claims(&detour), first);
}

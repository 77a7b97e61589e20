//! Restoring a dump into a database.

use edgesentry_ops::postgres::{Programs, Sql};
use edgesentry_rs::error::Component;

use crate::{BUCKET, Site, said, sentence};

impl Site {
    /// Creates a database beside the ledger; returns its URL.
    fn database(&self, name: &str) -> (String, Sql) {
        self.sql(&format!("CREATE DATABASE {name}"));
        let url = self.cluster.url(name);
        let sql = Sql::new(&Programs::find(None).unwrap(), &url).unwrap();
        (url, sql)
    }
}

#[test]
fn a_dump_is_restored_only_into_an_empty_database() {
    let mut site = Site::start();
    site.sql("CREATE TABLE t (n int PRIMARY KEY);\nINSERT INTO t SELECT generate_series(1, 1000)");
    let none = site.ops(&format!("restore-dump --into {}", site.cluster.url("postgres")));
    assert!(said(&none).contains("there is no archive"), "{}", said(&none));
    let dump = site.json("dump", 0)["dump"].clone();
    site.sql("INSERT INTO t VALUES (1001)");

    let (url, sql) = site.database("again");
    let restored = site.json(&format!("restore-dump --into {url}"), 0)["restored_dump"].clone();
    assert_eq!((&restored["dump"], &restored["tables"]), (&dump["id"], &1.into()));
    assert_eq!(sql.query("SELECT count(*), max(n) FROM t").unwrap(), "1000|1000");

    // Never over existing data, even if it were the same.
    for url in [url, site.cluster.url("postgres")] {
        let refused = site.ops(&format!("restore-dump --into {url}"));
        assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
        assert!(sentence(&refused).contains("the database is not empty"), "{}", said(&refused));
        assert!(!said(&refused).contains("password") && !said(&refused).contains(&url), "{}", said(&refused));
    }
    assert_eq!(site.sql("SELECT count(*) FROM t"), "1001");

    // The bytes of another dump under its name are detected before the database is touched.
    let (url, sql) = site.database("empty");
    let (missing, id) = (site.ops(&format!("restore-dump --into {url} --dump nothing")), &dump["id"]);
    assert!(sentence(&missing).contains("there is no dump nothing"), "{}", said(&missing));
    let key = format!("dumps/{}/ledger.dump", id.as_str().unwrap());
    site.replace_archived(&key, |mut bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        bytes
    });
    let damaged = site.ops(&format!("restore-dump --into {url}"));
    assert_eq!(damaged.status.code(), Some(3), "{}", said(&damaged));
    assert!(said(&damaged).contains("ledger.dump is unchanged since it was archived"), "{}", said(&damaged));
    assert_eq!(sql.query("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").unwrap(), "0");
    site.cluster.stop().unwrap();
}

impl Site {
    /// Replaces an object of the archive.
    pub(crate) fn replace_archived(&self, key: &str, change: impl FnOnce(Vec<u8>) -> Vec<u8>) {
        let url = format!("s3://{BUCKET}/ledger");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let objects =
                edgesentry_rs::objects::open(&url, &self.s3.settings(), Component::Archive).await.unwrap();
            let bytes = objects.get(key).await.unwrap().unwrap();
            let changed = change(bytes.to_vec()).into();
            objects.put(key, changed, edgesentry_rs::objects::Write::Replace).await.unwrap();
        });
    }
}

//! Least privilege: the permissions of each role on a bucket, as policy documents of AWS IAM.

use serde_json::{Value, json};

use super::Holds;

/// A role and its policy document.
#[derive(Clone, PartialEq, Debug, serde::Serialize)]
pub struct Policy {
    /// The role, such as `ingest`.
    pub role: &'static str,
    /// The purpose of the role.
    pub about: &'static str,
    /// The document.
    pub document: Value,
}

/// Actions that would undo the protection; only the administrator who sets up the bucket may perform them.
const NEVER: [&str; 11] = [
    "s3:BypassGovernanceRetention",
    "s3:DeleteBucket",
    "s3:DeleteBucketPolicy",
    "s3:DeleteObject",
    "s3:DeleteObjectVersion",
    "s3:PutBucketObjectLockConfiguration",
    "s3:PutBucketPolicy",
    "s3:PutBucketVersioning",
    "s3:PutLifecycleConfiguration",
    "s3:PutObjectRetention",
    "s3:PutReplicationConfiguration",
];

/// Returns the policies of a bucket.
pub fn policies(bucket: &str, holds: Holds) -> Vec<Policy> {
    match holds {
        Holds::Payloads => of_payloads(bucket),
        Holds::Archive => of_archive(bucket),
    }
}

fn of_payloads(bucket: &str) -> Vec<Policy> {
    let read = ["s3:GetObject", "s3:GetObjectVersion"];
    let list = ["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketVersions"];
    let look = [
        "s3:GetBucketObjectLockConfiguration",
        "s3:GetBucketVersioning",
        "s3:GetLifecycleConfiguration",
        "s3:GetObjectRetention",
        "s3:GetReplicationConfiguration",
    ];
    let (ingest, recovery) = (["s3:PutObject", "s3:GetObject"], ["s3:PutObject"]);
    let locks = ["s3:GetObjectLegalHold", "s3:GetObjectRetention"];
    vec![
        Policy {
            role: "ingest",
            about: "the ingest service: writes payloads and reads them again, and deletes nothing",
            document: document(
                bucket,
                &ingest,
                &["s3:GetBucketLocation", "s3:ListBucket"],
                &Deletes::Nothing,
            ),
        },
        Policy {
            role: "auditor",
            about: "verification: reads payloads, every version of them, and how the bucket is set up",
            document: document(bucket, &read, &[&list[..], &look[..]].concat(), &Deletes::Nothing),
        },
        Policy {
            role: "recovery",
            about: "restore-object: reads every version, and puts a payload on top of them",
            document: document(bucket, &[&read[..], &recovery[..]].concat(), &list, &Deletes::Nothing),
        },
        Policy {
            role: "eraser",
            about: "erase: reads payloads and deletes their versions; never the files of a transparency log; writes nothing",
            document: document(bucket, &[&read[..], &locks[..]].concat(), &list, &Deletes::Versions),
        },
    ]
}

/// Returns the archive policies. Only retention deletes objects. In a locked bucket the versions remain: the
/// lifecycle deletes them once their retention has ended.
fn of_archive(bucket: &str) -> Vec<Policy> {
    let list = ["s3:GetBucketLocation", "s3:ListBucket"];
    let write = ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"];
    vec![
        Policy {
            role: "archive-writer",
            about: "archive-wal, backup and dump: write each object once, and delete nothing",
            document: document(bucket, &write, &list, &Deletes::Nothing),
        },
        Policy {
            role: "archive-receiver",
            about: "receive-wal: as archive-writer, and deletes the unfinished segment once it has the whole one",
            document: document(bucket, &write, &list, &Deletes::Objects("*partial/*")),
        },
        Policy {
            role: "archive-retention",
            about: "retention: reads everything, deletes expired objects, and writes nothing",
            document: document(bucket, &["s3:GetObject"], &list, &Deletes::Objects("*")),
        },
        Policy {
            role: "archive-restore",
            about: "restore, fetch-wal, check-archive and verify-backup: read only",
            document: document(bucket, &["s3:GetObject"], &list, &Deletes::Nothing),
        },
    ]
}

/// The deletions that a role may perform.
enum Deletes {
    Nothing,
    /// Objects under these keys, never a version.
    Objects(&'static str),
    /// Versions of all objects but the files of a transparency log. Object Lock forbids it until the retention ends.
    Versions,
}

/// The files of a transparency log, which may be in the bucket of the payloads, under any prefix.
const LOG: [&str; 5] = ["*log/checkpoint*", "*log/lock/*", "*log/tile/*", "*log/evidence/*", "*log/erased/*"];

/// Returns a policy.
fn document(bucket: &str, on_objects: &[&str], on_bucket: &[&str], deletes: &Deletes) -> Value {
    let (bucket, objects) = (format!("arn:aws:s3:::{bucket}"), format!("arn:aws:s3:::{bucket}/*"));
    let not_encrypted = json!({"Bool": {"aws:SecureTransport": "false"}});
    let mut statements = vec![
        json!({"Sid": "Objects", "Effect": "Allow", "Action": on_objects, "Resource": objects}),
        json!({"Sid": "Bucket", "Effect": "Allow", "Action": on_bucket, "Resource": bucket}),
    ];
    let mut never = NEVER.to_vec();
    let allowed = match deletes {
        Deletes::Nothing => None,
        Deletes::Objects(keys) => Some(("s3:DeleteObject", *keys)),
        Deletes::Versions => Some(("s3:DeleteObjectVersion", "*")),
    };
    if let Some((action, keys)) = allowed {
        let keys = format!("{bucket}/{keys}");
        statements.push(json!({"Sid": "Delete", "Effect": "Allow", "Action": [action], "Resource": keys}));
        never.retain(|denied| *denied != action);
    }
    if matches!(deletes, Deletes::Versions) {
        let files = LOG.map(|keys| format!("{bucket}/{keys}"));
        let actions = ["s3:DeleteObjectVersion"];
        statements.push(json!({"Sid": "Log", "Effect": "Deny", "Action": actions, "Resource": files}));
    }
    statements
        .push(json!({"Sid": "Never", "Effect": "Deny", "Action": never, "Resource": [bucket, objects]}));
    statements
        .push(json!({"Sid": "OnlyTls", "Effect": "Deny", "Action": "s3:*", "Resource": [bucket, objects],
        "Condition": not_encrypted}));
    json!({"Version": "2012-10-17", "Statement": statements})
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the actions that a role is allowed, each with its resource.
    fn allowed(document: &Value) -> Vec<(String, String)> {
        let statements = document["Statement"].as_array().unwrap();
        let allow = statements.iter().filter(|statement| statement["Effect"] == "Allow");
        allow
            .flat_map(|statement| {
                let resource = statement["Resource"].as_str().unwrap().to_owned();
                let actions = statement["Action"].as_array().unwrap();
                actions.iter().map(move |action| (action.as_str().unwrap().to_owned(), resource.clone()))
            })
            .collect()
    }

    #[test]
    fn no_role_may_unlock_and_few_may_delete() {
        let all = [Holds::Payloads, Holds::Archive].into_iter().flat_map(|holds| policies("audit", holds));
        let mut deletable = Vec::new();
        for Policy { role, document, .. } in all {
            for (action, resource) in allowed(&document) {
                if action == "s3:DeleteObject" || (role, &*action) == ("eraser", "s3:DeleteObjectVersion") {
                    deletable.push((role, resource));
                } else {
                    assert!(!NEVER.contains(&&*action) && action != "s3:*", "{role}: {action}");
                }
            }
            let statements = document["Statement"].as_array().unwrap();
            let never = statements.iter().find(|statement| statement["Sid"] == "Never").unwrap();
            assert_eq!(never["Resource"], json!(["arn:aws:s3:::audit", "arn:aws:s3:::audit/*"]));
            let never = never["Action"].as_array().unwrap();
            assert_eq!(never.contains(&json!("s3:DeleteObjectVersion")), role != "eraser");
            assert!(role != "eraser" || never.contains(&json!("s3:DeleteObject")));
        }
        let expected = [
            ("eraser", "arn:aws:s3:::audit/*".to_owned()),
            ("archive-receiver", "arn:aws:s3:::audit/*partial/*".to_owned()),
            ("archive-retention", "arn:aws:s3:::audit/*".to_owned()),
        ];
        assert_eq!(deletable, expected);
    }
}

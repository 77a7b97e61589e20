//! Least privilege: what each role may do with the bucket, as policy documents of AWS IAM.

use serde_json::{Value, json};

/// A role and its policy document.
#[derive(Clone, PartialEq, Debug, serde::Serialize)]
pub struct Policy {
    /// Such as `ingest`.
    pub role: &'static str,
    /// What the role is for.
    pub about: &'static str,
    /// The document.
    pub document: Value,
}

/// What would undo the protection; only whoever sets up the bucket may do it.
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

/// The policies of a bucket.
pub fn policies(bucket: &str) -> Vec<Policy> {
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
    vec![
        Policy {
            role: "ingest",
            about: "the ingest service: writes payloads and reads them again, and deletes nothing",
            document: document(bucket, &ingest, &["s3:GetBucketLocation", "s3:ListBucket"]),
        },
        Policy {
            role: "auditor",
            about: "verification: reads payloads, every version of them, and how the bucket is set up",
            document: document(bucket, &read, &[&list[..], &look[..]].concat()),
        },
        Policy {
            role: "recovery",
            about: "restore-object: reads every version, and puts a payload on top of them",
            document: document(bucket, &[&read[..], &recovery[..]].concat(), &list),
        },
    ]
}

fn document(bucket: &str, on_objects: &[&str], on_bucket: &[&str]) -> Value {
    let (bucket, objects) = (format!("arn:aws:s3:::{bucket}"), format!("arn:aws:s3:::{bucket}/*"));
    let not_encrypted = json!({"Bool": {"aws:SecureTransport": "false"}});
    json!({
        "Version": "2012-10-17",
        "Statement": [
            {"Sid": "Objects", "Effect": "Allow", "Action": on_objects, "Resource": objects},
            {"Sid": "Bucket", "Effect": "Allow", "Action": on_bucket, "Resource": bucket},
            {"Sid": "Never", "Effect": "Deny", "Action": NEVER, "Resource": [bucket, objects]},
            {"Sid": "OnlyTls", "Effect": "Deny", "Action": "s3:*", "Resource": [bucket, objects],
             "Condition": not_encrypted},
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_role_may_delete_or_unlock() {
        for Policy { role, document, .. } in policies("audit") {
            let statements = document["Statement"].as_array().cloned().unwrap_or_default();
            let allowed = statements.iter().filter(|statement| statement["Effect"] == "Allow");
            for action in
                allowed.flat_map(|statement| statement["Action"].as_array().cloned().unwrap_or_default())
            {
                assert!(!NEVER.iter().any(|never| action == *never) && action != "s3:*", "{role}: {action}");
            }
            assert_eq!(statements[2]["Resource"], json!(["arn:aws:s3:::audit", "arn:aws:s3:::audit/*"]));
        }
    }
}

//! S3 over HTTP, path style: buckets, objects, and lists of them.

use std::collections::BTreeMap;

use http::StatusCode;
use jiff::SignedDuration;
use percent_encoding::percent_decode_str;

use super::super::buckets::Object;
use super::super::caller::Caller;
use super::super::conditions::Context;
use super::super::error::Code;
use super::super::settings::Quirk;
use super::super::world::{Access, World};
use super::sigv4::{Claim, Signed};
use super::xml::Xml;
use super::{Content, Moment, quirks, verify};

const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// How far a signature's time may be off (S3 API reference, RequestTimeTooSkewed).
const SKEW: SignedDuration = SignedDuration::from_mins(15);

/// An error of S3: status, code, message (S3 API reference, "Error responses").
type Refusal = (StatusCode, &'static str, &'static str);

const ACCESS_DENIED: Refusal = (StatusCode::FORBIDDEN, "AccessDenied", "Access Denied");
const NO_SUCH_BUCKET: Refusal = (StatusCode::NOT_FOUND, "NoSuchBucket", "The specified bucket does not exist");
const NO_SUCH_KEY: Refusal = (StatusCode::NOT_FOUND, "NoSuchKey", "The specified key does not exist.");
const UNKNOWN_KEY: Refusal =
    (StatusCode::FORBIDDEN, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.");
const NOT_IMPLEMENTED: Refusal = (
    StatusCode::NOT_IMPLEMENTED,
    "NotImplemented",
    "A header or query you provided implies functionality that is not implemented.",
);

pub(super) fn answer(
    world: &mut World,
    moment: Moment,
    claim: Option<&Claim>,
    signed: &Signed<'_>,
    request_id: &str,
) -> Content {
    let refusal = match authenticate(world, moment, claim, signed) {
        Ok(caller) => match (Session { world, moment, caller, place: place(moment, signed) }).answer(signed) {
            Ok(content) => return content,
            Err(refusal) => refusal,
        },
        Err(refusal) => refusal,
    };
    let (status, code, message) = refusal;
    if signed.method == "HEAD" {
        // The answer to HEAD has no body, so that a client learns no more than the status.
        return Content { status, headers: Vec::new(), body: Vec::new() };
    }
    Content::xml(
        status,
        Xml::document("Error", "", |xml| {
            xml.text("Code", code);
            xml.text("Message", message);
            xml.text("RequestId", request_id);
        }),
    )
}

fn authenticate(
    world: &mut World,
    moment: Moment,
    claim: Option<&Claim>,
    signed: &Signed<'_>,
) -> Result<Caller, Refusal> {
    let claim = claim.ok_or(ACCESS_DENIED)?;
    let quirks = quirks::of(world);
    let verified = verify(world, moment, claim, signed, "s3", SKEW);
    let only = world.only_account().filter(|_| quirks.contains(&Quirk::EveryKeyAccepted) && verified.is_err());
    if let Some(iam) = only {
        return Ok(Caller::root(&iam.state().account().id));
    }
    verified.map_err(|error| match error.code {
        _ if quirks.contains(&Quirk::UnknownKeysDenied) => ACCESS_DENIED,
        Code::SignatureDoesNotMatch => (
            StatusCode::FORBIDDEN,
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided.",
        ),
        Code::ExpiredToken => (StatusCode::BAD_REQUEST, "ExpiredToken", "The provided token has expired."),
        _ => UNKNOWN_KEY,
    })
}

/// The header by which a test sends a request through a VPC endpoint.
pub const VPC_ENDPOINT: &str = "x-double-vpc-endpoint";

/// From where and how a request comes (IAM user guide, "AWS global condition context keys"): the address of who sent it, or,
/// through a VPC endpoint, `<vpc> <endpoint>` as the header has it. The double speaks no TLS; a proxy in front of it may say that it does.
fn place(moment: Moment, signed: &Signed<'_>) -> Context {
    let header = |name: &str| signed.headers.get(name).and_then(|value| value.to_str().ok());
    let tls = header("x-forwarded-proto") == Some("https");
    let context = Context::new().with("aws:SecureTransport", tls.to_string());
    match header(VPC_ENDPOINT).and_then(|through| through.split_once(' ')) {
        Some((vpc, endpoint)) => context
            .with("aws:SourceVpc", vpc)
            .with("aws:SourceVpce", endpoint)
            .with("aws:VpcSourceIp", moment.from.to_string()),
        None => context.with("aws:SourceIp", moment.from.to_string()),
    }
}

/// A request of a caller that has proved who it is.
struct Session<'a> {
    world: &'a mut World,
    moment: Moment,
    caller: Caller,
    place: Context,
}

impl Session<'_> {
    fn answer(&mut self, signed: &Signed<'_>) -> Result<Content, Refusal> {
        let path = percent_decode_str(signed.path.trim_start_matches('/')).decode_utf8_lossy().into_owned();
        let (bucket, key) = path.split_once('/').unwrap_or((&path, ""));
        let query: BTreeMap<String, String> = form_urlencoded::parse(signed.query.as_bytes()).into_owned().collect();
        match (signed.method, bucket, key) {
            ("GET", "", _) => self.list_buckets(),
            ("PUT", _, "") => self.create_bucket(bucket),
            ("GET", _, "") if query.contains_key("location") => self.location(bucket),
            ("GET", _, "") if query.get("list-type").is_some_and(|number| number == "2") => self.list(bucket, &query),
            ("HEAD", _, "") => {
                self.allow("s3:ListBucket", bucket, "", &self.place.clone())?;
                Ok(empty(StatusCode::OK))
            }
            ("DELETE", _, "") => self.delete_bucket(bucket),
            ("PUT", ..) => self.put(bucket, key, signed),
            ("GET" | "HEAD", ..) => self.get(bucket, key),
            ("DELETE", ..) => {
                self.allow("s3:DeleteObject", bucket, key, &self.place.clone())?;
                if let Some(bucket) = self.world.buckets.get_mut(bucket) {
                    bucket.objects.remove(key);
                }
                Ok(empty(StatusCode::NO_CONTENT))
            }
            _ => Err(NOT_IMPLEMENTED),
        }
    }

    fn arn(&self, bucket: &str, key: &str) -> String {
        let partition =
            self.world.account(self.caller.account()).map_or("aws", |iam| iam.state().account().partition.as_str());
        let separator = if key.is_empty() { "" } else { "/" };
        format!("arn:{partition}:s3:::{bucket}{separator}{key}")
    }

    /// Refuses what the caller's policies do not allow, without regard to whether the bucket is there.
    fn allow_anywhere(&mut self, action: &str, arn: &str, context: &Context) -> Result<(), Refusal> {
        match self.world.decide(self.moment.now, &self.caller, action, arn, context) {
            Access::Allowed => Ok(()),
            Access::InvalidAccessKeyId => Err(UNKNOWN_KEY),
            _ => Err(ACCESS_DENIED),
        }
    }

    /// Refuses what the caller's policies do not allow, and buckets that are not there or of another account.
    fn allow(&mut self, action: &str, bucket: &str, key: &str, context: &Context) -> Result<(), Refusal> {
        let arn = self.arn(bucket, key);
        let mut context = context.clone();
        if let Some(found) = self.world.buckets.get(bucket) {
            context.add("aws:ResourceAccount", &found.owner);
        }
        let quirks = quirks::of(self.world);
        if quirks.contains(&Quirk::UnknownKeysDenied) && self.world.buckets.get(bucket).is_none() {
            return Err(NO_SUCH_BUCKET);
        }
        self.allow_anywhere(action, &arn, &context)?;
        let owner = &self.world.buckets.get(bucket).ok_or(NO_SUCH_BUCKET)?.owner;
        if owner == self.caller.account() { Ok(()) } else { Err(ACCESS_DENIED) }
    }

    fn list_buckets(&mut self) -> Result<Content, Refusal> {
        self.allow_anywhere("s3:ListAllMyBuckets", "*", &self.place.clone())?;
        let owner = self.caller.account().to_owned();
        let body = Xml::document("ListAllMyBucketsResult", NAMESPACE, |xml| {
            xml.element("Owner", |xml| xml.text("ID", &owner));
            xml.element("Buckets", |xml| {
                for (name, bucket) in self.world.buckets.of(&owner) {
                    xml.element("Bucket", |xml| {
                        xml.text("Name", name);
                        xml.time("CreationDate", bucket.created);
                    });
                }
            });
        });
        Ok(Content::xml(StatusCode::OK, body))
    }

    fn create_bucket(&mut self, name: &str) -> Result<Content, Refusal> {
        let arn = self.arn(name, "");
        self.allow_anywhere("s3:CreateBucket", &arn, &self.place.clone())?;
        let is_name = (3..=63).contains(&name.len())
            && name.chars().all(|letter| matches!(letter, 'a'..='z' | '0'..='9' | '-' | '.'));
        if !is_name {
            return Err((StatusCode::BAD_REQUEST, "InvalidBucketName", "The specified bucket is not valid."));
        }
        let owner = self.caller.account().to_owned();
        match self.world.buckets.get(name) {
            Some(bucket) if bucket.owner == owner => Err((
                StatusCode::CONFLICT,
                "BucketAlreadyOwnedByYou",
                "Your previous request to create the named bucket succeeded and you already own it.",
            )),
            Some(_) => {
                Err((StatusCode::CONFLICT, "BucketAlreadyExists", "The requested bucket name is not available."))
            }
            None => {
                self.world.buckets.create(name, &owner, self.moment.now);
                Ok(empty(StatusCode::OK).header("location", format!("/{name}")))
            }
        }
    }

    fn delete_bucket(&mut self, name: &str) -> Result<Content, Refusal> {
        self.allow("s3:DeleteBucket", name, "", &self.place.clone())?;
        if self.world.buckets.get(name).is_some_and(|bucket| !bucket.objects.is_empty()) {
            return Err((StatusCode::CONFLICT, "BucketNotEmpty", "The bucket you tried to delete is not empty"));
        }
        self.world.buckets.remove(name);
        Ok(empty(StatusCode::NO_CONTENT))
    }

    fn location(&mut self, bucket: &str) -> Result<Content, Refusal> {
        self.allow("s3:GetBucketLocation", bucket, "", &self.place.clone())?;
        Ok(Content::xml(StatusCode::OK, Xml::document("LocationConstraint", NAMESPACE, |_| ())))
    }

    fn put(&mut self, bucket: &str, key: &str, signed: &Signed<'_>) -> Result<Content, Refusal> {
        let header = |name: &str| signed.headers.get(name).and_then(|value| value.to_str().ok());
        if header("x-amz-copy-source").is_some() {
            return Err(NOT_IMPLEMENTED);
        }
        self.allow("s3:PutObject", bucket, key, &self.place.clone())?;
        let content_type = header("content-type").unwrap_or("binary/octet-stream");
        let object = Object::new(signed.body, content_type, self.moment.now);
        let etag = object.etag.clone();
        let bucket = self.world.buckets.get_mut(bucket).ok_or(NO_SUCH_BUCKET)?;
        bucket.objects.insert(key.to_owned(), object);
        Ok(empty(StatusCode::OK).header("etag", etag))
    }

    /// Who may not list a bucket is not told whether an object is there (S3 API reference, GetObject).
    fn get(&mut self, bucket: &str, key: &str) -> Result<Content, Refusal> {
        self.allow("s3:GetObject", bucket, key, &self.place.clone())?;
        let may_list = self.allow("s3:ListBucket", bucket, "", &self.place.clone()).is_ok();
        let absent = if may_list { NO_SUCH_KEY } else { ACCESS_DENIED };
        let object = self.world.buckets.get(bucket).and_then(|bucket| bucket.objects.get(key)).ok_or(absent)?;
        let content = Content {
            status: StatusCode::OK,
            headers: vec![("content-type", object.content_type.clone())],
            body: object.body.clone(),
        };
        let modified = object.modified.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        Ok(content.header("etag", object.etag.clone()).header("last-modified", modified))
    }

    fn list(&mut self, name: &str, query: &BTreeMap<String, String>) -> Result<Content, Refusal> {
        let mut context = self.place.clone();
        for parameter in ["prefix", "delimiter", "max-keys"] {
            if let Some(value) = query.get(parameter) {
                context.add(&format!("s3:{parameter}"), value);
            }
        }
        self.allow("s3:ListBucket", name, "", &context)?;
        let text = |parameter: &str| query.get(parameter).map_or("", String::as_str);
        let limit = query.get("max-keys").and_then(|number| number.parse().ok()).unwrap_or(1_000usize).clamp(1, 1_000);
        let token = hex::decode(text("continuation-token")).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let after = token.filter(|token| !token.is_empty()).unwrap_or_else(|| text("start-after").to_owned());
        let bucket = self.world.buckets.get(name).ok_or(NO_SUCH_BUCKET)?;
        let page = bucket.list(text("prefix"), text("delimiter"), &after, limit);
        let body = Xml::document("ListBucketResult", NAMESPACE, |xml| {
            xml.text("Name", name);
            xml.text("Prefix", text("prefix"));
            xml.text("KeyCount", page.objects.len() + page.common_prefixes.len());
            xml.text("MaxKeys", limit);
            xml.text("IsTruncated", page.next.is_some());
            if let Some(next) = &page.next {
                xml.text("NextContinuationToken", hex::encode(next));
            }
            for (key, object) in &page.objects {
                xml.element("Contents", |xml| {
                    xml.text("Key", key);
                    xml.time("LastModified", object.modified);
                    xml.text("ETag", &object.etag);
                    xml.text("Size", object.body.len());
                    xml.text("StorageClass", "STANDARD");
                });
            }
            for common in &page.common_prefixes {
                xml.element("CommonPrefixes", |xml| xml.text("Prefix", common));
            }
        });
        Ok(Content::xml(StatusCode::OK, body))
    }
}

fn empty(status: StatusCode) -> Content {
    Content { status, headers: Vec::new(), body: Vec::new() }
}

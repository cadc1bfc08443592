//! Users, tags and boundaries.

use anyhow::{Context, Result, ensure};
use aws_sdk_iam::types::Tag;

use crate::cases::cases;
use crate::target::{ALL_OF_S3, Target, refused};

cases![
    a_user_is_created_with_path_and_tags,
    the_identifier_of_a_user_tells_its_type,
    user_names_are_unique_without_regard_to_case,
    users_are_found_without_regard_to_case,
    a_missing_user_is_no_such_entity,
    user_names_are_checked,
    user_names_have_64_characters_at_most,
    paths_are_checked,
    fifty_tags_at_most,
    a_tag_key_twice_in_a_request_is_refused,
    tag_keys_differ_by_more_than_case,
    tag_characters_are_checked,
    tags_of_aws_are_refused,
    tags_may_hold_spaces,
    tags_are_listed_and_removed,
    a_list_of_users_shows_no_tags,
    users_are_listed_by_page,
    users_are_listed_by_path,
    a_renamed_user_keeps_its_keys,
    a_user_is_created_with_a_boundary,
    a_boundary_has_to_exist,
    a_boundary_is_put_and_deleted,
    removing_a_boundary_that_is_not_there_is_refused,
];

fn tag(key: &str, value: &str) -> Result<Tag> {
    Ok(Tag::builder().key(key).value(value).build()?)
}

async fn a_user_is_created_with_path_and_tags(target: &Target) -> Result<()> {
    let name = target.name("Reports+App=1,2.x@y-");
    let tags = [tag("owner", "a-cluster")?, tag("Empty", "")?];
    let create = target.iam.create_user().user_name(&name).path("/k8s/team/").set_tags(Some(tags.to_vec()));
    let created = create.send().await?.user.context("a user")?;
    let got = target.iam.get_user().user_name(&name).send().await?.user.context("a user")?;
    let account = target.account().await?;
    for user in [created, got] {
        ensure!(user.arn() == format!("arn:aws:iam::{account}:user/k8s/team/{name}"), "{}", user.arn());
        ensure!(user.path() == "/k8s/team/" && user.user_name() == name);
        let mut tags: Vec<_> = user.tags().iter().map(|tag| (tag.key(), tag.value())).collect();
        tags.sort_unstable();
        ensure!(tags == [("Empty", ""), ("owner", "a-cluster")], "{tags:?}");
    }
    Ok(())
}

async fn the_identifier_of_a_user_tells_its_type(target: &Target) -> Result<()> {
    let name = target.user().await?;
    let got = target.iam.get_user().user_name(&name).send().await?;
    let id = got.user.context("a user")?.user_id;
    ensure!(id.starts_with("AIDA") && id.len() == 21, "{id}");
    Ok(())
}

async fn user_names_are_unique_without_regard_to_case(target: &Target) -> Result<()> {
    let name = target.user().await?;
    refused(target.iam.create_user().user_name(&name).send().await, "EntityAlreadyExists", 409)?;
    refused(target.iam.create_user().user_name(name.to_uppercase()).send().await, "EntityAlreadyExists", 409)
}

async fn users_are_found_without_regard_to_case(target: &Target) -> Result<()> {
    let name = target.user().await?;
    let found = target.iam.get_user().user_name(name.to_uppercase()).send().await?.user.context("a user")?;
    ensure!(found.user_name() == name);
    Ok(())
}

async fn a_missing_user_is_no_such_entity(target: &Target) -> Result<()> {
    let iam = &target.iam;
    let name = target.name("missing");
    refused(iam.get_user().user_name(&name).send().await, "NoSuchEntity", 404)?;
    refused(iam.delete_user().user_name(&name).send().await, "NoSuchEntity", 404)?;
    refused(iam.list_access_keys().user_name(&name).send().await, "NoSuchEntity", 404)?;
    refused(iam.create_access_key().user_name(&name).send().await, "NoSuchEntity", 404)?;
    refused(iam.list_user_policies().user_name(&name).send().await, "NoSuchEntity", 404)?;
    refused(iam.tag_user().user_name(&name).tags(tag("k", "v")?).send().await, "NoSuchEntity", 404)
}

async fn user_names_are_checked(target: &Target) -> Result<()> {
    for name in ["slash/ed", "star*", "hash#", "colon:"] {
        refused(target.iam.create_user().user_name(name).send().await, "ValidationError", 400).context(name)?;
    }
    Ok(())
}

async fn user_names_have_64_characters_at_most(target: &Target) -> Result<()> {
    let stem = target.name("long");
    let name = format!("{stem}{}", "x".repeat(64 - stem.len()));
    target.iam.create_user().user_name(&name).send().await?;
    refused(target.iam.create_user().user_name(format!("{name}x")).send().await, "ValidationError", 400)
}

async fn paths_are_checked(target: &Target) -> Result<()> {
    for path in ["k8s", "/k8s", "k8s/"] {
        let create = target.iam.create_user().user_name(target.name("path")).path(path);
        refused(create.send().await, "ValidationError", 400).context(path)?;
    }
    Ok(())
}

async fn fifty_tags_at_most(target: &Target) -> Result<()> {
    let name = target.user().await?;
    let tags = (0..50).map(|number| tag(&format!("k{number}"), "v")).collect::<Result<_>>()?;
    target.iam.tag_user().user_name(&name).set_tags(Some(tags)).send().await?;
    target.iam.tag_user().user_name(&name).tags(tag("k0", "again")?).send().await?;
    refused(target.iam.tag_user().user_name(&name).tags(tag("more", "v")?).send().await, "LimitExceeded", 409)
}

async fn a_tag_key_twice_in_a_request_is_refused(target: &Target) -> Result<()> {
    let name = target.user().await?;
    let request = target.iam.tag_user().user_name(&name).tags(tag("Key", "v")?).tags(tag("key", "w")?);
    refused(request.send().await, "InvalidInput", 400)
}

async fn tag_keys_differ_by_more_than_case(target: &Target) -> Result<()> {
    let name = target.user().await?;
    target.iam.tag_user().user_name(&name).tags(tag("Key", "v")?).send().await?;
    target.iam.tag_user().user_name(&name).tags(tag("key", "w")?).send().await?;
    let listed = target.iam.list_user_tags().user_name(&name).send().await?;
    ensure!(listed.tags() == [tag("key", "w")?], "{:?}", listed.tags());
    Ok(())
}

async fn tag_characters_are_checked(target: &Target) -> Result<()> {
    let name = target.user().await?;
    let long = ("k".repeat(129), "v".repeat(257));
    for (key, value) in [("a*b", "v"), ("k", "a*b"), (&long.0, "v"), ("k", &long.1)] {
        let request = target.iam.tag_user().user_name(&name).tags(tag(key, value)?);
        refused(request.send().await, "ValidationError", 400).with_context(|| format!("{key}={value}"))?;
    }
    Ok(())
}

async fn tags_may_hold_spaces(target: &Target) -> Result<()> {
    let name = target.user().await?;
    target.iam.tag_user().user_name(&name).tags(tag("the owner", "a cluster")?).send().await?;
    let listed = target.iam.list_user_tags().user_name(&name).send().await?;
    ensure!(listed.tags() == [tag("the owner", "a cluster")?], "{:?}", listed.tags());
    Ok(())
}

async fn tags_of_aws_are_refused(target: &Target) -> Result<()> {
    let name = target.user().await?;
    let request = target.iam.tag_user().user_name(&name).tags(tag("aws:owner", "v")?);
    refused(request.send().await, "InvalidInput", 400)
}

async fn tags_are_listed_and_removed(target: &Target) -> Result<()> {
    let name = target.user().await?;
    let tags = vec![tag("a", "1")?, tag("b", "2")?, tag("c", "3")?];
    target.iam.tag_user().user_name(&name).set_tags(Some(tags)).send().await?;
    target.iam.untag_user().user_name(&name).tag_keys("b").tag_keys("absent").send().await?;
    let listed = target.iam.list_user_tags().user_name(&name).send().await?;
    ensure!(listed.tags() == [tag("a", "1")?, tag("c", "3")?], "{:?}", listed.tags());
    Ok(())
}

async fn a_list_of_users_shows_no_tags(target: &Target) -> Result<()> {
    let name = target.name("listed");
    let path = format!("/{name}/");
    target.iam.create_user().user_name(&name).path(&path).tags(tag("k", "v")?).send().await?;
    let listed = target.iam.list_users().path_prefix(&path).send().await?;
    ensure!(listed.users().len() == 1 && listed.users()[0].tags().is_empty(), "{listed:?}");
    Ok(())
}

async fn users_are_listed_by_page(target: &Target) -> Result<()> {
    let stem = target.name("paged");
    let path = format!("/{stem}/");
    for number in 0..5 {
        target.iam.create_user().user_name(format!("{stem}-{number}")).path(&path).send().await?;
    }
    let (mut names, mut marker, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = target.iam.list_users().path_prefix(&path).max_items(2).set_marker(marker).send().await?;
        ensure!(page.users().len() <= 2 && page.is_truncated() == page.marker().is_some());
        names.extend(page.users().iter().map(|user| user.user_name().to_owned()));
        pages += 1;
        marker = page.marker;
        if marker.is_none() {
            break;
        }
    }
    ensure!(names.len() == 5 && pages >= 3, "{pages} pages: {names:?}");
    refused(target.iam.list_users().max_items(1001).send().await, "ValidationError", 400)
}

async fn users_are_listed_by_path(target: &Target) -> Result<()> {
    let name = target.name("path");
    target.iam.create_user().user_name(&name).path(format!("/{name}/deep/")).send().await?;
    let listed = target.iam.list_users().path_prefix(format!("/{name}/")).send().await?;
    ensure!(listed.users().len() == 1);
    let listed = target.iam.list_users().path_prefix(format!("/{name}/other/")).send().await?;
    ensure!(listed.users().is_empty());
    Ok(())
}

async fn a_renamed_user_keeps_its_keys(target: &Target) -> Result<()> {
    let name = target.user().await?;
    let key = target.key(&name).await?;
    let new = target.name("renamed");
    target.iam.update_user().user_name(&name).new_user_name(&new).new_path("/new/").send().await?;
    refused(target.iam.get_user().user_name(&name).send().await, "NoSuchEntity", 404)?;
    let user = target.iam.get_user().user_name(&new).send().await?.user.context("a user")?;
    ensure!(user.arn().ends_with(&format!(":user/new/{new}")), "{}", user.arn());
    let keys = target.iam.list_access_keys().user_name(&new).send().await?;
    ensure!(keys.access_key_metadata()[0].access_key_id() == Some(key.access_key_id()));
    let identity = target.sts_of(&key).get_caller_identity().send().await?;
    ensure!(identity.arn() == Some(user.arn()), "{:?}", identity.arn());
    Ok(())
}

async fn a_user_is_created_with_a_boundary(target: &Target) -> Result<()> {
    let boundary = target.policy(ALL_OF_S3).await?;
    let name = target.name("bounded");
    target.iam.create_user().user_name(&name).permissions_boundary(&boundary).send().await?;
    let user = target.iam.get_user().user_name(&name).send().await?.user.context("a user")?;
    let shown = user.permissions_boundary().and_then(|boundary| boundary.permissions_boundary_arn());
    ensure!(shown == Some(boundary.as_str()), "{shown:?}");
    Ok(())
}

async fn a_boundary_has_to_exist(target: &Target) -> Result<()> {
    let absent = format!("arn:aws:iam::{}:policy/{}", target.account().await?, target.name("absent"));
    let name = target.name("bounded");
    let create = target.iam.create_user().user_name(&name).permissions_boundary(&absent);
    refused(create.send().await, "NoSuchEntity", 404)?;
    let name = target.user().await?;
    let put = target.iam.put_user_permissions_boundary().user_name(&name).permissions_boundary(absent);
    refused(put.send().await, "NoSuchEntity", 404)
}

async fn a_boundary_is_put_and_deleted(target: &Target) -> Result<()> {
    let boundary = target.policy(ALL_OF_S3).await?;
    let name = target.user().await?;
    let put = target.iam.put_user_permissions_boundary().user_name(&name).permissions_boundary(&boundary);
    put.send().await?;
    let user = target.iam.get_user().user_name(&name).send().await?.user.context("a user")?;
    ensure!(user.permissions_boundary().is_some());
    target.iam.delete_user_permissions_boundary().user_name(&name).send().await?;
    let user = target.iam.get_user().user_name(&name).send().await?.user.context("a user")?;
    ensure!(user.permissions_boundary().is_none());
    Ok(())
}

async fn removing_a_boundary_that_is_not_there_is_refused(target: &Target) -> Result<()> {
    let name = target.user().await?;
    refused(target.iam.delete_user_permissions_boundary().user_name(&name).send().await, "NoSuchEntity", 404)
}

//! Installing and upgrading, as the README says it is done.

use anyhow::ensure;

use crate::scene::{Scene, spec, user_name};

const CRD: &str = "s3accessusers.s3access.dev";

#[tokio::test]
async fn rival_18_applying_the_base_again_upgrades_the_crd_and_harms_no_user() {
    let scene = Scene::new("upgrade").await;
    scene.create("reports", spec()).await;
    let user = user_name(&scene.ready("reports").await);
    let key = scene.only_key(&user, "reports-s3").await;
    let kubectl = async |args: &[&str]| scene.stand.kubernetes.kubectl(args).await.unwrap();
    let columns = "jsonpath={.spec.versions[0].additionalPrinterColumns[*].name}";
    // An older version of the CRD, which lacks the last column.
    let last = kubectl(&["get", "crd", CRD, "-o", columns]).await.split(' ').count() - 1;
    let older = format!(r#"[{{"op":"remove","path":"/spec/versions/0/additionalPrinterColumns/{last}"}}]"#);
    kubectl(&["patch", "crd", CRD, "--type=json", "-p", &older]).await;
    assert_eq!(kubectl(&["get", "crd", CRD, "-o", columns]).await.split(' ').count(), last);
    let deploy = ground::repository().join("deploy").display().to_string();
    kubectl(&["apply", "-k", &deploy]).await;
    assert_eq!(kubectl(&["get", "crd", CRD, "-o", columns]).await.split(' ').count(), last + 1);
    assert_eq!(scene.only_key(&user, "reports-s3").await, key);
    scene
        .see("the user to be looked at as before", async || {
            let found = scene.users().get("reports").await?;
            ensure!(found.metadata.deletion_timestamp.is_none(), "it is being deleted");
            Ok(())
        })
        .await;
}

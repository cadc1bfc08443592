//! How fast the double is: a benchmark of an operator must not measure its server.

use std::time::Instant;

use futures::future;
use futures::stream::{self, StreamExt};
use ground::double::{Caller, Config, DoubleServer, Request, Settings, World};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::admin;
use super::raw::Request as Raw;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, for a build with optimisation on a machine with nothing else to do"]
async fn calls_a_second_over_http() {
    const USERS: usize = 10_000;
    let settings = Settings { users_per_account: USERS, ..Settings::default() };
    let double = DoubleServer::start(Config { settings, ..Config::default() }).await.unwrap();
    let iam = admin(&double);
    let began = Instant::now();
    stream::iter(0..USERS)
        .for_each_concurrent(32, |number| {
            let iam = iam.clone();
            async move {
                let name = format!("user-{number}");
                iam.create_user().user_name(&name).send().await.unwrap();
                iam.create_access_key().user_name(&name).send().await.unwrap();
                iam.list_access_keys().user_name(&name).send().await.unwrap();
            }
        })
        .await;
    println!("SDK and server on one machine: {:.0} calls/s", 3.0 * USERS as f64 / began.elapsed().as_secs_f64());
    let began = Instant::now();
    let mut pages = iam.get_account_authorization_details().max_items(1000).into_paginator().send();
    let mut users = 0;
    while let Some(page) = pages.next().await {
        users += page.unwrap().user_detail_list().len();
    }
    assert_eq!(users, USERS);
    println!("details of {USERS} users: {:?}", began.elapsed());
}

/// One signed request over and over, on connections that stay open: what the server alone takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, for a build with optimisation on a machine with nothing else to do"]
async fn calls_a_second_of_the_server_alone() {
    const CONNECTIONS: usize = 16;
    const CALLS: usize = 2_000;
    let double = DoubleServer::start(Config::default()).await.unwrap();
    admin(&double).create_user().user_name("u").send().await.unwrap();
    let body = b"Action=ListAccessKeys&UserName=u&Version=2010-05-08";
    let mut request = Raw::post("/", "application/x-www-form-urlencoded", body);
    request.sign(&double.endpoint(), &double.admin(), "iam", double.region());
    let (endpoint, request) = (double.endpoint(), &request);
    let began = Instant::now();
    future::join_all((0..CONNECTIONS).map(|_| repeat(request, &endpoint, CALLS))).await;
    println!("server alone: {:.0} calls/s", (CONNECTIONS * CALLS) as f64 / began.elapsed().as_secs_f64());
}

/// Sends a request so many times on one connection; each answer has to be of success.
async fn repeat(request: &Raw, endpoint: &str, times: usize) {
    let address = endpoint.strip_prefix("http://").unwrap();
    let bytes = request.bytes(address, "keep-alive");
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut buffer = vec![0; 64 * 1024];
    for _ in 0..times {
        stream.write_all(&bytes).await.unwrap();
        // An answer of this size arrives in one piece over the loopback address.
        let length = stream.read(&mut buffer).await.unwrap();
        assert!(buffer[..length].starts_with(b"HTTP/1.1 200"));
    }
}

#[test]
#[ignore = "a measurement, for a build with optimisation on a machine with nothing else to do"]
fn calls_a_second_in_process() {
    const USERS: usize = 100_000;
    let account = Config::default().account;
    let root = Caller::root(&account.id);
    let mut world = World::new(account, Settings { users_per_account: USERS, ..Settings::hostile(1) });
    let mut now = "2026-01-01T00:00:00Z".parse::<jiff::Timestamp>().unwrap();
    let began = Instant::now();
    for number in 0..USERS {
        now += jiff::SignedDuration::from_millis(10);
        let user_name = format!("user-{number}");
        let create = Request::CreateUser {
            user_name: user_name.clone(),
            path: None,
            permissions_boundary: None,
            tags: Vec::new(),
        };
        world.call(now, &root, &create).result.unwrap();
        world.call(now, &root, &Request::CreateAccessKey { user_name }).result.unwrap();
    }
    println!("in-process, with replicas: {:.0} calls/s", 2.0 * USERS as f64 / began.elapsed().as_secs_f64());
    let began = Instant::now();
    let copies: Vec<World> = (0..1000).map(|_| world.clone()).collect();
    println!("a copy of a world of {USERS} users: {:?}", began.elapsed() / u32::try_from(copies.len()).unwrap());
}

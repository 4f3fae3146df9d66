//! Addresses from IPAM plugins: real ones of the distribution, and ones that misbehave.
use crate::support;

use std::path::Path;

use serde_json::{Value, json};
use support::feature::{Feature, needs};
use support::ipam::{calls, fake, gateway_conf, host_local, reservations};
use support::{Before, Lab, conf, host_side};

#[test]
fn the_neighbours_hear_of_the_address_at_once() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let capture = support::wire::Capture::start(&lab.lan, "lan0");
    let result = lab.add(&gateway_conf(&lab, json!({})), &pod).ok();
    let mac = result["interfaces"][2]["mac"].as_str().unwrap().to_string();
    support::wait_until("a gratuitous ARP passes the uplink", || {
        let frames = capture.seen();
        support::wire::from_mac(&frames, &mac).iter().any(|frame| {
            frame[12..14] == [0x08, 0x06] && frame[28..32] == [10, 1, 2, 2] && frame[38..42] == [10, 1, 2, 2]
        })
    });
    let target = "fd00:1::2".parse::<std::net::Ipv6Addr>().unwrap().octets();
    support::wait_until(
        "an unsolicited neighbour advertisement (RFC 4861 section 7.2.6) passes, too",
        || {
            support::wire::from_mac(&capture.seen(), &mac).iter().any(|frame| {
                frame.len() >= 78
                    && frame[12..14] == [0x86, 0xdd]
                    && frame[54] == 136
                    && frame[62..78] == target
            })
        },
    );
}

#[test]
fn check_notices_a_missing_address_and_a_missing_route() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let conf = gateway_conf(&lab, json!({}));
    let result = lab.add(&conf, &pod).ok();
    // What a later plugin of the chain added for an interface of its own.
    let mut later = result.clone();
    let interfaces = later["interfaces"].as_array_mut().unwrap();
    interfaces.push(json!({"name": "vpn0", "sandbox": pod.path()}));
    let address = json!({"address": "10.66.0.2/24", "interface": interfaces.len() - 1});
    later["ips"].as_array_mut().unwrap().push(address);
    lab.check(&conf, &later, &pod).ok();
    pod.ip("route del default");
    assert!(lab.check(&conf, &result, &pod).error(123).contains("route to 0.0.0.0/0"));
    pod.ip("route add default via 10.1.2.1 dev net1 table 1000");
    assert!(lab.check(&conf, &result, &pod).error(123).contains("route to 0.0.0.0/0"), "another table");
    pod.ip("address del 10.1.2.2/24 dev net1");
    assert!(lab.check(&conf, &result, &pod).error(123).contains("lacks the address 10.1.2.2/24"));
}

#[test]
fn routes_carry_table_metric_mtu_and_several_gateways() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let answer = json!({
        "cniVersion": "1.1.0", "ips": [{"address": "10.1.2.2/24", "gateway": "10.1.2.1"}],
        "routes": [
            {"dst": "10.9.0.0/16", "gw": "10.1.2.8"}, {"dst": "10.9.0.0/16", "gw": "10.1.2.9"},
            {"dst": "10.8.0.0/16", "table": 1000, "priority": 77, "mtu": 1400, "advmss": 1360},
            {"dst": "10.7.0.0/16", "scope": 253},
        ],
        "dns": {"nameservers": ["10.1.2.53"]},
    });
    let path = fake(&lab, &format!("echo '{answer}'"));
    let conf = conf(json!({"ipam": {"type": "fake"}}));
    let result = lab.call("ADD", &conf, "c1", pod.path(), "net1").set("CNI_PATH", &path).run().ok();
    assert_eq!(result["dns"]["nameservers"], json!(["10.1.2.53"]));
    let shown = pod.run("ip route show table all");
    for line in [
        "10.8.0.0/16 via 10.1.2.1 dev net1 table 1000 metric 77 mtu 1400 advmss 1360",
        "10.7.0.0/16 dev net1 scope link",
        "nexthop via 10.1.2.8 dev net1 weight 1",
        "nexthop via 10.1.2.9 dev net1 weight 1",
    ] {
        assert!(shown.contains(line), "{line} in\n{shown}");
    }
    lab.call("CHECK", &support::with_result(&conf, &result), "c1", pod.path(), "net1")
        .set("CNI_PATH", &path)
        .run()
        .ok();
}

#[test]
fn ipv6_works_where_the_runtime_had_disabled_it() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let set = |key: &'static str, value: &'static str| {
        pod.enter(move || std::fs::write(format!("/proc/sys/net/ipv6/conf/{key}"), value).unwrap());
    };
    set("all/disable_ipv6", "1");
    set("default/disable_ipv6", "1");
    let unreachable = r#"{"cniVersion": "1.1.0", "ips": [{"address": "fd00:1::2/64"}], "routes": [{"dst": "fd09::/64", "gw": "fd77::1"}]}"#;
    let path = fake(&lab, &format!("echo '{unreachable}'"));
    let refused = conf(json!({"ipam": {"type": "fake"}}));
    lab.call("ADD", &refused, "c1", pod.path(), "net1").set("CNI_PATH", &path).run().error(124);
    assert_eq!(pod.run("cat /proc/sys/net/ipv6/conf/lo/disable_ipv6"), "1\n", "taken back");

    // A gateway address serves at once.
    lab.node.enter(|| std::fs::write("/proc/sys/net/ipv6/conf/br0/accept_dad", "1").unwrap());
    lab.add(&gateway_conf(&lab, json!({})), &pod).ok();
    let shown = lab.node.run("ip -6 address show dev br0 scope global");
    assert!(shown.contains("fd00:1::1/64") && !shown.contains("tentative"), "{shown}");
    pod.run("busybox ping -c1 -W5 fd00:1::1");
    pod.ip("link set net1 down\nlink set net1 up");
    assert!(pod.addresses()["net1"].to_string().contains("fd00:1::2/64"), "going down costs no address");
}

#[test]
fn duplicate_address_detection_settles_before_add_returns_and_finds_duplicates() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let conf = gateway_conf(&lab, json!({"enabledad": true}));
    lab.add(&conf, &pod).ok();
    let shown = pod.run("ip -6 address show dev net1 scope global");
    assert!(shown.contains("fd00:1::2") && !shown.contains("tentative"), "{shown}");

    lab.lan.ip("address add fd00:1::3/64 dev lan0 nodad");
    let second = lab.pod();
    let failed = lab.call("ADD", &conf, "c2", second.path(), "net1").run().error(124);
    assert!(failed.contains("another host on the link uses fd00:1::3"), "{failed}");
    assert_eq!(reservations(&lab), 2);
}

#[test]
fn every_operation_reaches_the_ipam_plugin_and_dns_of_the_config_wins() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let path = fake(
        &lab,
        r#"[ $CNI_COMMAND = ADD ] && echo '{"cniVersion": "1.1.0", "ips": [{"address": "10.1.2.2/24"}], "dns": {"domain": "x"}}'; true"#,
    );
    let conf =
        conf(json!({"ipam": {"type": "fake"}, "dns": {"domain": "lan"}, "cni.dev/valid-attachments": []}));
    let run = |operation: &str, conf: &Value| {
        lab.call(operation, conf, "c1", pod.path(), "net1").set("CNI_PATH", &path).run().ok()
    };
    let result = run("ADD", &conf);
    assert_eq!(result["dns"], json!({"domain": "lan"}));
    run("CHECK", &support::with_result(&conf, &result));
    run("STATUS", &conf);
    run("DEL", &conf);
    run("GC", &conf);
    assert_eq!(calls(&lab), ["ADD", "CHECK", "STATUS", "DEL", "GC"]);
    // A plugin older than CNI 1.1 knows neither.
    fake(&lab, r#"echo '{"code": 4, "msg": "unknown CNI_COMMAND"}'; exit 1"#);
    run("STATUS", &conf);
    run("GC", &conf);
}

#[test]
fn an_answer_is_read_as_the_version_that_it_names() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let path = fake(&lab, r#"echo '{"cniVersion": "0.2.0", "ip4": {"ip": "10.1.2.2/24"}}'"#);
    let conf = conf(json!({"cniVersion": "1.0.0", "ipam": {"type": "fake"}}));
    let result = lab.call("ADD", &conf, "c1", pod.path(), "net1").set("CNI_PATH", &path).run().ok();
    assert_eq!(result["ips"][0]["address"], "10.1.2.2/24");
}

#[test]
fn an_ipam_plugin_that_fails_leaves_nothing_and_says_why() {
    let good = r#"{"cniVersion": "1.1.0", "ips": [{"address": "10.1.2.2/24"}]}"#;
    let bad_route = r#"{"cniVersion": "1.1.0", "ips": [{"address": "10.1.2.2/24"}], "routes": [{"dst": "10.9.0.0/16", "gw": "10.77.7.7"}]}"#;
    let routes = (0..20_000).map(|n| json!({"dst": format!("10.200.{}.{}/32", n / 250, n % 250)}));
    let many_routes = json!({"ips": [{"address": "10.1.2.2/24", "gateway": "10.1.2.1"}], "routes": routes.collect::<Value>()});
    for (script, code, part) in [
        (
            "echo '{\"code\": 11, \"msg\": \"no free address\", \"details\": \"range is full\"}'; exit 1"
                .to_string(),
            121,
            "no free address (its code 11)",
        ),
        ("echo oops; exit 3".into(), 121, "exit status: 3"),
        ("echo oops".into(), 121, "no JSON result"),
        ("echo '{\"cniVersion\": \"1.0.0\"}'".into(), 121, "returned no addresses"),
        (
            "echo '{\"cniVersion\": \"1.0.0\", \"ips\": [{\"address\": \"0.0.0.0/24\"}]}'".into(),
            121,
            "which no host can have",
        ),
        (
            "echo '{\"cniVersion\": \"1.0.0\", \"ips\": [{\"address\": \"10.1.2.2\"}]}'".into(),
            121,
            "prefix length",
        ),
        ("[ $CNI_COMMAND = ADD ] && yes".into(), 121, "more than 1 MiB"),
        ("[ $CNI_COMMAND = ADD ] && sleep 60; true".into(), 121, "did not answer within"),
        (format!("cat <<EOF\n{many_routes}\nEOF"), 121, "returned more than 1000 addresses and routes"),
        (format!("echo '{bad_route}'"), 124, "cannot add the route to 10.9.0.0/16 over net1 via 10.77.7.7"),
        (format!("echo '{good}'; kill -9 $$"), 121, "signal"),
    ] {
        let lab = Lab::new("address 02:00:00:00:00:0b ");
        let pod = lab.pod();
        let before = Before::new(&lab, &pod);
        let path = fake(&lab, &script);
        // Only who hangs must run into the deadline; it leaves a slow kernel the time to ask and to take back.
        let deadline = if script.contains("sleep") { "6s" } else { "60s" };
        let conf = conf(json!({"ipam": {"type": "fake"}, "deadline": deadline}));
        let error = lab.call("ADD", &conf, "c1", pod.path(), "net1").set("CNI_PATH", &path).run().error(code);
        assert!(error.contains(part), "{script}: {error}");
        before.assert_unchanged(&script);
        assert_eq!(calls(&lab), ["ADD", "DEL"], "{script}");
    }
}

#[test]
fn a_plugin_that_hangs_at_every_call_costs_no_link() {
    for script in ["sleep 60", "[ $CNI_COMMAND = ADD ] && sleep 4 && exit 3; sleep 60"] {
        let lab = Lab::new("address 02:00:00:00:00:0b ");
        let pod = lab.pod();
        let before = Before::new(&lab, &pod);
        let path = fake(&lab, script);
        let conf = conf(json!({"ipam": {"type": "fake"}, "deadline": "6s"}));
        let error = lab.call("ADD", &conf, "c1", pod.path(), "net1").set("CNI_PATH", &path).run().error(121);
        assert!(error.contains("left behind: a reservation"), "{error}");
        before.assert_unchanged(script);
    }
}

#[test]
fn a_talkative_plugin_is_heard_out() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let path = fake(
        &lab,
        r#"head -c 300000 /dev/zero | tr '\0' x >&2 || exit 1
           echo '{"cniVersion": "1.1.0", "ips": [{"address": "10.1.2.2/24"}]}'"#,
    );
    let conf = conf(json!({"ipam": {"type": "fake"}}));
    let outcome = lab.call("ADD", &conf, "c1", pod.path(), "net1").set("CNI_PATH", &path).run();
    assert!(outcome.stderr.contains("xxxx") && outcome.stderr.len() < 200_000);
    outcome.ok();
}

#[test]
fn the_words_of_a_failing_plugin_are_passed_on_but_not_without_end() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let words = "0123456789".repeat(1000);
    let path = fake(
        &lab,
        &format!("echo '{{\"code\": 7, \"msg\": \"no\", \"details\": \"\\\\u001b[2J{words}\"}}'; exit 1"),
    );
    let conf = conf(json!({"ipam": {"type": "fake"}}));
    let error = lab.call("ADD", &conf, "c1", pod.path(), "net1").set("CNI_PATH", &path).run().error(121);
    assert!(error.contains(&words[..1900]) && error.len() < 3000, "{} bytes", error.len());
    assert!(error.contains(" [2J") && !error.contains('\x1b'), "{error:?}");
}

#[test]
fn a_plugin_that_is_missing_or_a_path_is_refused_before_anything_is_touched() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let before = Before::new(&lab, &pod);
    let named = |name: &str| conf(json!({"ipam": {"type": name}}));
    assert!(
        lab.add(&named("nosuch"), &pod)
            .error(121)
            .contains("is not in CNI_PATH (/usr/lib/cni, /opt/cni/bin)")
    );
    for name in ["../../bin/sh", "/bin/sh", "..", "a/b"] {
        lab.add(&named(name), &pod).error(7);
    }
    let path = fake(&lab, r#"echo '{"cniVersion": "1.1.0", "ips": [{"address": "10.1.2.2/24"}]}'"#);
    std::fs::write(lab.files.join("fake"), "no program").unwrap();
    // Beginning anywhere, it leads to the plugin.
    let relative = format!("{}..{path}", "../".repeat(30));
    for unfit in [relative.as_str(), lab.files.to_str().unwrap()] {
        let add = lab.call("ADD", &named("fake"), "c1", pod.path(), "net1");
        assert!(add.set("CNI_PATH", unfit).run().error(121).contains("is not in CNI_PATH"), "{unfit}");
    }
    before.assert_unchanged("after refusals");
}

#[test]
fn a_ruleset_in_the_way_of_masquerading_releases_the_reservation() {
    if !needs(Feature::Nat) {
        return;
    }
    let lab = Lab::new("address 02:00:00:00:00:0b ");
    let pod = lab.pod();
    lab.node.nft("table inet bridge_dhcp {\nset sources4 {\ntype inet_service;\n}\n}");
    let before = Before::new(&lab, &pod);
    let conf = gateway_conf(&lab, json!({"ipMasq": true}));
    let error = lab.add(&conf, &pod).error(120);
    assert!(error.contains("cannot masquerade 10.1.2.2/24"), "{error}");
    before.assert_unchanged("after nftables refused");
    assert_eq!(reservations(&lab), 0);
}

#[test]
fn an_ipv6_address_on_too_narrow_a_link_is_named_as_such() {
    let lab = Lab::new("address 02:00:00:00:00:0b ");
    let pod = lab.pod();
    let before = Before::new(&lab, &pod);
    let error = lab.add(&gateway_conf(&lab, json!({"mtu": 1279})), &pod).error(7);
    assert!(error.contains("net1 has MTU 1279") && error.contains("at least 1280"), "{error}");
    before.assert_unchanged("after the refusal");
    assert_eq!(reservations(&lab), 0);
    lab.add(&gateway_conf(&lab, json!({"mtu": 1280})), &pod).ok();
}

#[test]
fn del_with_a_stripped_config_removes_the_rest_although_ipam_fails() {
    let lab = Lab::new("");
    let pod = lab.pod();
    lab.add(&gateway_conf(&lab, json!({})), &pod).ok();
    let stripped =
        json!({"cniVersion": "1.0.0", "name": "lan", "type": "bridge-dhcp", "ipam": {"type": "host-local"}});
    let outcome = lab.del(&stripped, &pod);
    assert!(outcome.stderr.contains("IPAM plugin \"host-local\" failed"), "{}", outcome.stderr);
    outcome.ok();
    assert!(!lab.node.has(&host_side("c1", "net1")));

    let path = fake(&lab, "echo '{\"code\": 100, \"msg\": \"daemon is down\"}'; exit 1");
    // A plugin may need no more than its type.
    let conf = conf(json!({"ipam": {"type": "fake"}}));
    let error = lab.call("DEL", &conf, "c1", Path::new(""), "net1").set("CNI_PATH", &path).run().error(121);
    assert!(error.contains("daemon is down"), "{error}");
}

#[test]
fn kernel_parameters_that_cannot_be_set_fail_no_add_that_can_do_without() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let read_only = "mount --bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys && exec \"$0\"";
    let (path, log) = lab.log_file("log");
    let ranges = json!([[{"subnet": "10.1.2.0/24"}], [{"subnet": "fd00:1::/64"}]]);
    let conf = conf(json!({"cniVersion": "1.0.0", "ipam": host_local(&lab, ranges), "logFile": path}));
    let add = lab.call("ADD", &conf, "c1", pod.path(), "net1");
    add.under(&["unshare", "--mount", "sh", "-c", read_only]).run().ok();
    assert_eq!(pod.addresses()["net1"], json!(["10.1.2.2/24", "fd00:1::2/64"]));
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("cannot set net/ipv4/conf/net1/arp_notify to 1"), "{log}");
}

#[test]
fn with_dhcp_the_release_leaves_before_the_link_goes() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let host = host_side("c1", "net1");
    let releases = format!("ip link show {host} >/dev/null");
    let run = |operation: &str, release: &str, routes: Value| {
        let answer = json!({"cniVersion": "1.1.0", "ips": [{"address": "10.1.2.2/24"}], "routes": routes});
        let script = format!("if [ $CNI_COMMAND = DEL ]; then {release}; else echo '{answer}'; fi");
        let directory = fake(&lab, &script);
        std::fs::rename(format!("{directory}/fake"), format!("{directory}/dhcp")).unwrap();
        let conf = conf(json!({"ipam": {"type": "dhcp", "delegate": true}}));
        let call = lab.call(operation, &conf, "c1", pod.path(), "net1");
        call.set("CNI_PATH", &directory).run()
    };
    run("ADD", &releases, json!([])).ok();
    run("DEL", &releases, json!([])).ok();
    assert!(!lab.node.has(&host));
    // An ADD that fails releases, too, and waits for that on a busy node.
    let refused =
        run("ADD", &format!("sleep 1.5; {releases}"), json!([{"dst": "10.9.0.0/16", "gw": "10.77.7.7"}]))
            .error(124);
    assert!(!refused.contains("left behind") && !lab.node.has(&host), "{refused}");
    // The link does not stay for a server that does not answer.
    run("ADD", &releases, json!([])).ok();
    run("DEL", "exit 1", json!([])).error(121);
    assert!(!lab.node.has(&host));
}

#[test]
fn what_an_ipam_plugin_leaves_running_ends_with_the_call() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let path = fake(
        &lab,
        &format!(
            r#"sleep 100 </dev/null >/dev/null 2>&1 & echo $! >{}; echo '{{"cniVersion": "1.1.0", "ips": [{{"address": "10.1.2.2/24"}}]}}'"#,
            lab.files.join("pid").display()
        ),
    );
    let conf = conf(json!({"ipam": {"type": "fake"}}));
    lab.call("ADD", &conf, "c1", pod.path(), "net1").set("CNI_PATH", &path).run().ok();
    let started = std::fs::read_to_string(lab.files.join("pid")).unwrap();
    wait_until_ended(started.trim());
}

#[test]
fn an_ipam_plugin_ends_with_the_add_that_called_it() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let started = lab.files.join("pid");
    let path = fake(&lab, &format!("echo $$ >{0}.new; mv {0}.new {0}; exec sleep 100", started.display()));
    let conf = conf(json!({"ipam": {"type": "fake"}}));
    let mut add = lab.call("ADD", &conf, "c1", pod.path(), "net1").set("CNI_PATH", &path).start();
    support::wait_until("the plugin runs", || started.exists());
    let plugin = std::fs::read_to_string(started).unwrap().trim().to_string();
    assert!(Path::new("/proc").join(&plugin).exists());
    add.kill().unwrap();
    add.wait().unwrap();
    wait_until_ended(&plugin);
}

/// Waits until a process is gone, or only its parent has not noticed.
fn wait_until_ended(process: &str) {
    support::wait_until("the process has ended", || {
        let state = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        state.is_empty() || state.contains(") Z ")
    });
}

//! Gateway addresses on the bridge: given, in the way, replaced, and put back where the ADD fails.
use crate::support;

use serde_json::json;
use support::ipam::{fake, gateway_conf, reservations};
use support::{Before, Lab, conf, host_side};

#[test]
fn a_pod_reaches_its_gateway_in_both_families_and_del_releases_everything() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let conf = gateway_conf(&lab, json!({}));
    let result = lab.add(&conf, &pod).ok();
    assert_eq!(result["ips"][0]["address"], "10.1.2.2/24");
    assert_eq!(result["ips"][1]["gateway"], "fd00:1::1");
    assert!(result["ips"].as_array().unwrap().iter().all(|ip| ip["interface"] == 2));
    assert_eq!(
        result["routes"],
        json!([{"dst": "0.0.0.0/0", "gw": "10.1.2.1"}, {"dst": "::/0", "gw": "fd00:1::1"}])
    );
    pod.run("busybox ping -c1 -W5 10.1.2.1");
    pod.run("busybox ping -c1 -W5 fd00:1::1");
    lab.check(&conf, &result, &pod).ok();

    let second = lab.pod();
    lab.call("ADD", &conf, "c2", second.path(), "net1").run().ok();
    pod.run("busybox ping -c1 -W5 10.1.2.3");
    pod.run("busybox ping -c1 -W5 fd00:1::3");
    assert_eq!(reservations(&lab), 4);
    lab.del(&conf, &pod).ok();
    lab.call("DEL", &conf, "c2", second.path(), "net1").run().ok();
    assert_eq!(reservations(&lab), 0);
    assert!(!lab.node.has(&host_side("c1", "net1")));
}

#[test]
fn a_probe_without_an_answer_leaves_neither_the_bridge_that_was_made_for_it_nor_forwarding() {
    let lab = Lab::empty();
    let pod = lab.pod();
    let before = Before::new(&lab, &pod);
    let asked = json!({"uplinkCheck": "off", "dhcpProbe": {"timeout": "1s"}});
    let error = lab.add(&gateway_conf(&lab, asked), &pod).error(105);
    assert!(!error.contains("left behind"), "{error}");
    before.assert_unchanged("after the verdict");
    assert_eq!(reservations(&lab), 0);
}

#[test]
fn the_gateways_mac_does_not_go_with_the_port_that_the_bridge_has_it_from() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let mac = lab.port("br0")["address"].clone();
    lab.add(&gateway_conf(&lab, json!({})), &pod).ok();
    lab.node.ip("link del ens192");
    assert_eq!(lab.port("br0")["address"], mac);
}

#[test]
fn an_address_in_the_way_fails_the_add_and_force_replaces_it() {
    let lab = Lab::new("address 02:00:00:00:00:0b ");
    let pod = lab.pod();
    lab.node.ip("address add 192.168.9.1/24 dev br0");
    let before = Before::new(&lab, &pod);
    let error = lab.add(&gateway_conf(&lab, json!({})), &pod).error(7);
    assert!(error.contains("br0 already has the address 192.168.9.1/24"), "{error}");
    before.assert_unchanged("after the conflict");
    assert_eq!(reservations(&lab), 0);
    lab.add(&gateway_conf(&lab, json!({"forceAddress": true})), &pod).ok();
    let shown = lab.node.run("ip -4 address show dev br0");
    assert!(shown.contains("10.1.2.1/24") && !shown.contains("192.168.9.1"), "{shown}");
    pod.run("busybox ping -c1 -W5 10.1.2.1");
}

#[test]
fn a_replaced_address_comes_back_with_all_that_hung_on_it_when_the_add_fails() {
    let lab = Lab::new("address 02:00:00:00:00:0b ");
    let pod = lab.pod();
    lab.node.ip(
        "address add 192.168.9.1/24 dev br0 scope site valid_lft 50000 preferred_lft 40000\n\
         route add 192.168.8.0/24 dev br0 metric 7\nroute add 10.50.0.0/16 via 192.168.8.7 dev br0 metric 50",
    );
    // The IPv6 gateway is refused after the IPv4 one has taken its place.
    lab.node.enter(|| std::fs::write("/proc/sys/net/ipv6/conf/br0/disable_ipv6", "1").unwrap());
    let before = Before::new(&lab, &pod);
    let error = lab.add(&gateway_conf(&lab, json!({"forceAddress": true})), &pod).error(124);
    assert!(error.contains("cannot give br0 the gateway address fd00:1::1/64"), "{error}");
    before.assert_unchanged("after the refusal");
    let shown = lab.node.run("ip -4 address show dev br0");
    assert!(shown.contains("scope site dynamic") && !shown.contains("forever"), "{shown}");
    assert_eq!(reservations(&lab), 0);
}

#[test]
fn replaced_addresses_come_back_in_their_order_with_what_the_kernel_took_along() {
    let lab = Lab::new("address 02:00:00:00:00:0b ");
    let pod = lab.pod();
    for promoted in ["0", "1"] {
        lab.node
            .enter(|| std::fs::write("/proc/sys/net/ipv4/conf/br0/promote_secondaries", promoted).unwrap());
        lab.node.ip(
            "address add 192.168.9.1/24 dev br0\naddress add 192.168.9.2/24 dev br0\naddress add 172.16.0.1/16 dev br0\n\
             route add 10.50.0.0/16 via 172.16.0.7 dev br0 src 192.168.9.2",
        );
        lab.node.enter(|| std::fs::write("/proc/sys/net/ipv6/conf/br0/disable_ipv6", "1").unwrap());
        let shown = || lab.node.run("ip -4 address show dev br0");
        let (before, addresses) = (Before::new(&lab, &pod), shown());
        lab.add(&gateway_conf(&lab, json!({"forceAddress": true})), &pod).error(124);
        before.assert_unchanged("after the refusal");
        assert_eq!(shown(), addresses, "promote_secondaries {promoted}");
        lab.node.ip("address flush dev br0");
    }
}

#[test]
fn forcing_an_address_keeps_the_gateways_that_are_there() {
    let lab = Lab::new("");
    let pod = lab.pod();
    lab.node.ip("address add 10.1.2.254/24 dev br0\naddress add 10.1.2.1/24 dev br0");
    let answer =
        json!({"cniVersion": "1.1.0", "ips": [{"address": "10.1.2.3/24"}, {"address": "10.9.0.3/24"}]});
    let path = fake(&lab, &format!("echo '{answer}'"));
    let conf = conf(json!({"isGateway": true, "forceAddress": true, "ipam": {"type": "fake"}}));
    lab.call("ADD", &conf, "c1", pod.path(), "net1").set("CNI_PATH", &path).run().ok();
    for gateway in ["10.1.2.1", "10.9.0.1"] {
        pod.run(&format!("busybox ping -c1 -W5 {gateway}"));
    }
    assert!(!lab.node.addresses().to_string().contains("10.1.2.254"));
}

#[test]
fn a_gateway_that_is_the_containers_own_address_is_refused() {
    let lab = Lab::new("address 02:00:00:00:00:0b ");
    let pod = lab.pod();
    let before = Before::new(&lab, &pod);
    let of = |address: &str| {
        let path =
            fake(&lab, &format!(r#"echo '{{"cniVersion": "1.1.0", "ips": [{{"address": "{address}"}}]}}'"#));
        let conf = conf(json!({"isDefaultGateway": true, "ipam": {"type": "fake"}}));
        lab.call("ADD", &conf, "c1", pod.path(), "net1").set("CNI_PATH", &path).run()
    };
    assert!(
        of("10.1.2.1/24").error(7).contains("gateway address 10.1.2.1, which IPAM gave to the container")
    );
    before.assert_unchanged("after the refusal");
    of("10.1.2.3/31").ok();
    pod.run("busybox ping -c1 -W5 10.1.2.2");
}

#[test]
fn a_node_that_is_the_gateway_needs_no_uplink_unless_told_so() {
    let lab = Lab::empty();
    let pod = lab.pod();
    let outcome = lab.add(&gateway_conf(&lab, json!({})), &pod);
    assert_eq!(outcome.stderr, "");
    outcome.ok();
    lab.del(&gateway_conf(&lab, json!({})), &pod).ok();
    let outcome = lab.add(&gateway_conf(&lab, json!({"uplinkCheck": "warn"})), &pod);
    assert!(outcome.stderr.contains("no port that leads off the node"), "{}", outcome.stderr);
}

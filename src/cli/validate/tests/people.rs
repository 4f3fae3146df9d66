//! Manifests as people write them: with one plausible mistake each, and without any.

use super::*;

const DHCP: &str = include_str!("../../../../tests/cli_validate/people/dhcp.yaml");
const STATIC: &str = include_str!("../../../../tests/cli_validate/people/static.yaml");
const PODS: &str = include_str!("../../../../tests/cli_validate/people/pods.yaml");
const SECRET: &str = include_str!("../../../../tests/cli_validate/people/secret.yaml");
const TRUNK: &str = include_str!("../../../../tests/cli_validate/people/trunk.yaml");
const INCUMBENT: &str = include_str!("../../../../tests/cli_validate/people/incumbent.yaml");

/// The manifest, what stands in it, and what somebody wrote instead.
type Change = (&'static str, &'static str, &'static str);

const POLICY_PORT: &str = "            - name: eno1\n              vlan: {}\n";
const LAN_DATA: &str = "                lan:\n                  match:\n                    macaddress: \"02:00:00:00:00:10\"\n                  set-name: lan0\n                  dhcp4: true\n                  dhcp-identifier: mac\n";
const POD_DATA: &str = "                enp1s0:\n                  dhcp4: true\n                  dhcp4-overrides:\n                    use-routes: false\n";
const FIXED_CAPABLE: &str = "      \"capabilities\": { \"ips\": true },\n";
const WORKER_NETWORKS: &str = "        k8s.v1.cni.cncf.io/networks: range@lan0, apps/lan-dhcp@lan1\n";

/// Mistakes, and the rule that finds each.
const MISTAKES: &[(Change, &str)] = &[
    // Kinds and names.
    ((DHCP, "kind: NetworkAttachmentDefinition", "kind: NetworkAttachementDefinition"), "kind"),
    ((DHCP, "kind: VirtualMachine", "kind: virtualMachine"), "kind"),
    ((DHCP, "networkName: lan\n", "networkName: vsm/lan\n"), "definition-elsewhere"),
    ((DHCP, "networkName: lan\n", "networkName: lna\n"), "definition-elsewhere"),
    ((DHCP, "networkName: lan\n", "networkName: vms.lan\n"), "definition-elsewhere"),
    (
        (DHCP, "  name: lan\n  namespace: vms\n", "  name: lan\n  namespace: default\n"),
        "definition-elsewhere",
    ),
    (
        (
            STATIC,
            "kind: VirtualMachine\nmetadata:\n  name: db2",
            "kind: VirtualMachine\nmetadata:\n  name: db1",
        ),
        "object-twice",
    ),
    // The network config.
    ((DHCP, "\"type\": \"bridge-dhcp\"", "\"type\": \"bridge_dhcp\""), "type"),
    ((INCUMBENT, "\"type\":\"cnv-bridge\"", "\"type\":\"cnv-brigde\""), "type"),
    ((DHCP, "\"type\": \"bridge-dhcp\",", "\"typ\": \"bridge-dhcp\","), "type"),
    ((DHCP, "\"cniVersion\": \"0.3.1\",\n", ""), "version"),
    ((DHCP, "\"dhcpProbe\":", "// asks first\n      \"dhcpProbe\":"), "syntax"),
    ((DHCP, "[\"10.77.0.1\"] }\n", "[\"10.77.0.1\"] },\n"), "syntax"),
    ((DHCP, "\"name\": \"lan\",\n", "\"name\": \"lan\"\n"), "syntax"),
    ((DHCP, "config: |\n", "config:\n"), "syntax"),
    ((DHCP, "config: |\n", "conf: |\n"), "no-config"),
    ((STATIC, "\"vlan\":120", "\"vlan\":\"120\""), "config"),
    ((STATIC, "\"vlan\":120", "\"vlan\":4095"), "config"),
    ((DHCP, "\"bridge\": \"br-external\"", "\"master\": \"br-external\""), "config"),
    ((DHCP, "\"timeout\": \"5s\"", "\"timeout\": \"20s\""), "config"),
    ((DHCP, "\"timeout\": \"5s\"", "\"timeout\": 5"), "config"),
    ((DHCP, "\"servers\":", "\"server\":"), "config"),
    ((DHCP, "Interface\": true,", "Interface\": \"true\","), "config"),
    ((DHCP, "Interface\": true,", "Interface\": true, \"ipam\": {\"type\": \"dhcp\"},"), "config"),
    ((TRUNK, "\"minID\": 100, \"maxID\": 110", "\"minID\": 110, \"maxID\": 100"), "config"),
    (
        (
            TRUNK,
            "\"vlanTrunk\": [{ \"minID\": 100, \"maxID\": 110 }, { \"id\": 300 }]",
            "\"vlanTrunk\": [100, 300]",
        ),
        "config",
    ),
    (
        (
            TRUNK,
            "\"plugins\": [\n        { \"type\": \"bridge\",",
            "\"plugins\": {\"a\": [\n        { \"type\": \"bridge\",",
        ),
        "syntax",
    ),
    ((PODS, "\"plugins\": [\n        {\n", "\"plugins\": {\n"), "syntax"),
    (
        (
            TRUNK,
            "{ \"type\": \"bridge\", \"bridge\": \"br-trunk\"",
            "{ \"type\": \"bridge\", \"bridge\": \"br1\"",
        ),
        "chain",
    ),
    ((TRUNK, "\"macspoofchk\": true }", "\"ipam\": {\"type\": \"dhcp\"} }"), "config"),
    (
        (
            DHCP,
            "resourceName: bridge.network.kubevirt.io/br-external",
            "resourceName: bridge.network.kubevirt.io/br-ex",
        ),
        "resource-differs",
    ),
    ((SECRET, "\"vlan\":120", "\"vlan\":121"), "vlan-label"),
    ((PODS, "\"rangeStart\": \"10.77.0.200\"", "\"rangeStart\": \"10.78.0.200\""), "ipam"),
    ((PODS, "\"subnet\": \"10.77.0.0/24\"", "\"subnet\": \"10.77.0.1/24\""), "ipam"),
    ((PODS, "\"type\": \"host-local\"", "\"type\": \"hostlocal\""), "ipam"),
    ((PODS, "\"dst\": \"10.0.0.0/8\"", "\"dst\": \"10.0.0.0\""), "ipam"),
    ((DHCP, "Interface\": true,", "Interface\": true, \"macspoofcheck\": true,"), "config"),
    ((DHCP, "Interface\": true,", "Interface\": true, \"isolated\": true,"), "config"),
    ((STATIC, "\"vlan\":120,", "\"vlan\":120,\"vlan\":121,"), "key-twice"),
    ((DHCP, "Interface\": true,", "Interface\": true, \"portGroup\": \"lan\","), "unknown-key"),
    // Network and policy.
    ((DHCP, "\"bridge\": \"br-external\"", "\"bridge\": \"br-extrenal\""), "bridge-without-policy"),
    ((DHCP, "\"bridge\": \"br-external\"", "\"bridge\": \"eno1\""), "not-a-linux-bridge"),
    ((STATIC, "\"vlan\":120", "\"vlan\":220"), "vlan-not-in-trunk"),
    ((STATIC, "\"mtu\":1500", "\"mtu\":9216"), "mtu-larger-than-bridge"),
    ((DHCP, "Interface\": true,", "Interface\": true, \"vlan\": 120,"), "vlan-filtering-off"),
    ((DHCP, "vlan: {}", "vlan: {mode: access, tag: 120}"), "default-vlan-not-on-uplink"),
    ((DHCP, "type: linux-bridge", "type: ovs-bridge"), "not-a-linux-bridge"),
    ((DHCP, "enabled: false\n          port", "enabled: true\n          port"), "stp"),
    ((DHCP, POLICY_PORT, ""), "bridge-without-uplink"),
    ((DHCP, POLICY_PORT, "            - eno1\n"), "policy"),
    (
        (
            DHCP,
            "        ipv4:\n          enabled: false\n      - name: br",
            "        ipv4: {enabled: true, dhcp: true}\n      - name: br",
        ),
        "port-with-address",
    ),
    (
        (
            DHCP,
            "      - name: br-external\n",
            "      - name: br-lan\n        type: linux-bridge\n        bridge: {options: {stp: {enabled: false}}, port: [{name: eno1}]}\n      - name: br-external\n",
        ),
        "port-of-two-bridges",
    ),
    ((DHCP, "      - name: br-external\n", "      - name: br-external-office1\n"), "bridge-name"),
    ((DHCP, "  desiredState:\n    interfaces:", "  interfaces:"), "policy"),
    ((DHCP, "  desiredState:\n", "  desiredState: |\n"), "policy"),
    // The machine.
    (
        (
            DHCP,
            "            - name: lan\n              bridge",
            "            - name: lan0\n              bridge",
        ),
        "interface-without-network",
    ),
    ((DHCP, "macAddress: \"02:00:00:00:00:10\"", "macAdress: \"02:00:00:00:00:10\""), "interface-key"),
    ((DHCP, "macAddress: \"02:", "macAddress: \"03:"), "mac-invalid"),
    ((DHCP, "macAddress: \"02:00:00:00:00:10\"", "macAddress: \"02:00:00:00:10\""), "mac-invalid"),
    ((DHCP, "bridge: {}", "bridge: {}\n              masquerade: {}"), "two-bindings"),
    ((DHCP, "bridge: {}", "masquerade: {}"), "masquerade-on-multus"),
    ((INCUMBENT, "bridge: {}", "masquerade: {}"), "masquerade-on-multus"),
    ((DHCP, "bridge: {}", "sriov: {}"), "sriov-on-bridge"),
    (
        (
            DHCP,
            "            - name: lan\n              bridge",
            "            - name: default\n              bridge",
        ),
        "interface-twice",
    ),
    ((DHCP, "multus:\n            networkName: lan", "multus:\n            name: lan"), "network-name"),
    ((DHCP, "multus:\n            networkName: lan", "multus: {}"), "network-name"),
    ((DHCP, "networkName: lan\n", "networkName: lan\n            default: true\n"), "two-defaults"),
    (
        (SECRET, "networkName: default/vlan120", "networkName: default/vlan120, default: true"),
        "default-without-address",
    ),
    ((DHCP, "  template:\n    metadata:", "  instance:\n    metadata:"), "no-machine"),
    (
        (
            DHCP,
            "            - name: cloudinit\n              disk",
            "            - name: cloud-init\n              disk",
        ),
        "disk-without-volume",
    ),
    ((DHCP, "\"disableContainerInterface\": true,\n", ""), "container-mode-for-vm"),
    (
        (
            DHCP,
            "\"disableContainerInterface\": true,\n",
            "\"ipam\": {\"type\": \"static\", \"addresses\": [{\"address\": \"10.77.0.9/24\"}]},\n",
        ),
        "ipam-for-vm",
    ),
    ((STATIC, "macAddress: 52:54:00:00:01:0b", "macAddress: 52:54:00:00:01:0a"), "mac-duplicate"),
    // The guest.
    ((DHCP, "macaddress: \"02:00:00:00:00:10\"", "macaddress: \"02:00:00:00:00:01\""), "network-data-mac"),
    ((DHCP, "              macAddress: \"02:00:00:00:00:10\"\n", ""), "network-data-mac"),
    ((DHCP, POD_DATA, ""), "card-left-out"),
    ((DHCP, LAN_DATA, ""), "card-left-out"),
    (
        (DHCP, "                  dhcp4-overrides:\n                    use-routes: false\n", ""),
        "two-default-routes",
    ),
    (
        (DHCP, "dhcp4: true\n                  dhcp-id", "dhcp4: false\n                  dhcp-id"),
        "network-data-nothing",
    ),
    (
        (DHCP, "dhcp4: true\n                  dhcp-id", "dhcp: true\n                  dhcp-id"),
        "network-data",
    ),
    (
        (DHCP, "dhcp4: true\n                  dhcp-id", "DHCP4: true\n                  dhcp-id"),
        "network-data",
    ),
    (
        (DHCP, "dhcp4: true\n                  dhcp-id", "dhcp4: ture\n                  dhcp-id"),
        "network-data",
    ),
    ((DHCP, "version: 2\n", "version: 1\n"), "network-data"),
    ((DHCP, "              version: 2\n", ""), "network-data"),
    ((DHCP, "              ethernets:\n", "              ethernet:\n"), "network-data"),
    (
        (
            DHCP,
            "hostname: web\n",
            "hostname: web\n              network: {version: 2, ethernets: {lan: {dhcp4: true}}}\n",
        ),
        "network-in-user-data",
    ),
    ((INCUMBENT, "enp1s0:", "eth0:"), "network-data-name"),
    ((STATIC, "10.120.0.1}", "10.121.0.1}"), "network-data-gateway"),
    ((STATIC, "10.120.0.1}", "10.120.0.11}"), "network-data-gateway"),
    ((STATIC, "- 10.120.0.11/24", "- 10.120.0.11"), "network-data-address"),
    ((STATIC, "- 10.120.0.11/24", "- 10.120.0.255/24"), "network-data-address"),
    (
        (STATIC, "addresses: [10.120.0.1]", "{}\n                    addresses: 10.120.0.11/24"),
        "network-data",
    ),
    (
        (STATIC, "nameservers:\n                      addresses: [10.120.0.1]", "nameservers: [10.120.0.1]"),
        "network-data",
    ),
    ((STATIC, "address: 10.120.0.12/24", "address: 10.120.0.11/24"), "address-duplicate"),
    ((SECRET, "macaddress: \"52:54:00:aa:00:01\"", "macaddress: 52:54:00:12:34:56"), "network-data"),
    ((SECRET, "macaddress: \"52:54:00:aa:00:01\"", "macaddress: \"52:54:00:aa:00:10\""), "network-data-mac"),
    ((SECRET, "networkdata: |", "network-data: |"), "network-data"),
    ((TRUNK, "\"maxID\": 110", "\"maxID\": 104"), "guest-vlan"),
    (
        (
            STATIC,
            "                    nameservers:",
            "                vlans:\n                  v120: {id: 120, link: data}\n                x:\n                  y:",
        ),
        "guest-vlan",
    ),
    // Pods.
    ((PODS, "apps/lan-dhcp@lan1", "apps/lan-dchp@lan1"), "definition-elsewhere"),
    ((PODS, "range@lan0, apps", "range@lan0; apps"), "interface-name"),
    ((PODS, "\"02:00:00:00:00:20\"", "\"02:00:00:00:00\""), "mac-invalid"),
    ((PODS, "\"ips\": [\"10.77.0.50/24\"]", "\"ips\": [\"10.77.0.50\"]"), "address-invalid"),
    ((PODS, "\"ips\": [\"10.77.0.50/24\"]", "\"ip\": \"10.77.0.50/24\""), "annotation"),
    ((PODS, "\"interface\": \"lan0\"", "\"interface\": \"eth0\""), "interface-name"),
    (
        (
            PODS,
            "\"name\": \"fixed\",\n          \"namespace\"",
            "\"network\": \"fixed\",\n          \"namespace\"",
        ),
        "annotation",
    ),
    ((PODS, "[\"10.77.0.50/24\"]\n", "[\"10.77.0.50/24\"],\n"), "annotation"),
    ((PODS, "cncf.io/networks: |", "cncf.io/network: |"), "annotation"),
    ((PODS, FIXED_CAPABLE, ""), "ips-without-capability"),
    ((PODS, FIXED_CAPABLE, "      \"disableContainerInterface\": true,\n"), "config"),
    (
        (PODS, "      \"ipam\": { \"type\": \"dhcp\" }\n", "      \"disableContainerInterface\": true\n"),
        "vm-mode-for-pod",
    ),
    (
        (
            PODS,
            WORKER_NETWORKS,
            "        k8s.v1.cni.cncf.io/networks: '[{\"name\": \"fixed\", \"ips\": [\"10.77.0.60/24\"]}]'\n",
        ),
        "fixed-in-copies",
    ),
    (
        (
            PODS,
            "spec:\n  replicas: 3\n",
            "  annotations:\n    k8s.v1.cni.cncf.io/networks: range@lan0\nspec:\n  replicas: 3\n",
        ),
        "annotation-place",
    ),
    ((PODS, "range@lan0, apps/lan-dhcp@lan1", "range@lan0, apps/lan-dhcp@lan0"), "attachment-twice"),
];

#[test]
fn plausible_mistakes_are_found() {
    let mut missed = Vec::new();
    for ((manifest, from, to), rule) in MISTAKES {
        assert!(manifest.contains(from), "{from:?} is not in the manifest any more");
        let found = rules(&[&manifest.replacen(from, to, 1)]);
        let says = |found: &[(Severity, &str)]| found.iter().any(|(_, name)| name == rule);
        if !says(&found) || says(&rules(&[manifest])) {
            missed.push(format!("{rule}: {from:?} -> {to:?} gave {found:?}"));
        }
    }
    println!("{} of {} mistakes found", MISTAKES.len() - missed.len(), MISTAKES.len());
    assert!(missed.is_empty(), "missed {}:\n{}", missed.len(), missed.join("\n"));
}

/// Changes that leave a manifest without a mistake.
const VARIATIONS: &[&[Change]] = &[
    &[(DHCP, "", "")],
    &[(STATIC, "", "")],
    &[(PODS, "", "")],
    &[(SECRET, "", "")],
    &[(TRUNK, "", "")],
    &[(INCUMBENT, "", "")],
    &[(GOOD, "", "")],
    // Networks.
    &[(
        DHCP,
        "  annotations:\n    k8s.v1.cni.cncf.io/resourceName: bridge.network.kubevirt.io/br-external\n",
        "",
    )],
    &[(DHCP, "{ \"timeout\": \"5s\", \"servers\": [\"10.77.0.1\"] }", "true")],
    &[(
        DHCP,
        "{ \"timeout\": \"5s\", \"servers\": [\"10.77.0.1\"] }",
        "{\"timeout\": \"20s\", \"onFailure\": \"warn\"}, \"deadline\": \"30s\"",
    )],
    &[(DHCP, "      \"name\": \"lan\",\n", "")],
    &[(
        DHCP,
        "Interface\": true,",
        "Interface\": true, \"macspoofchk\": true, \"portIsolation\": true, \"mtu\": 1450,",
    )],
    &[(DHCP, "Interface\": true,", "Interface\": true, \"capabilities\": {\"mac\": true},")],
    &[
        (DHCP, "\"bridge\": \"br-external\"", "\"bridge\": \"br-other\", \"createBridge\": true"),
        (DHCP, "kubevirt.io/br-external", "kubevirt.io/br-other"),
    ],
    &[(STATIC, "\"vlan\":120,", "\"vlan\":120,\"vlanTrunk\":[{\"minID\":150,\"maxID\":160}],")],
    &[(
        PODS,
        "\"ranges\": [[{\n              \"subnet\": \"10.77.0.0/24\",",
        "\"ranges\": [[{\n              \"subnet\": \"2001:db8::/64\"}], [{\n              \"subnet\": \"10.77.0.0/24\",",
    )],
    &[(
        PODS,
        "\"ipam\": { \"type\": \"static\" }",
        "\"ipam\": { \"type\": \"whereabouts\", \"range\": \"10.77.0.0/24\" }",
    )],
    &[(
        PODS,
        "\"ipam\": { \"type\": \"dhcp\" }",
        "\"isGateway\": true, \"ipMasq\": true, \"ipam\": {\"type\": \"host-local\", \"subnet\": \"10.9.0.0/24\"}",
    )],
    &[(SECRET, "    network.harvesterhci.io/vlan-id: \"120\"\n", "")],
    // Policies.
    &[(DHCP, "vlan: {}", "x-note: trunk for all")],
    &[(DHCP, "          port:\n", "          ports:\n")],
    &[(DHCP, "vlan: {}", "vlan: {mode: trunk, trunk-tags: [{id-range: {min: 2, max: 4094}}]}")],
    &[
        (DHCP, "vlan: {}", "vlan: {mode: access, tag: 120}"),
        (DHCP, "Interface\": true,", "Interface\": true, \"vlan\": 120,"),
    ],
    &[
        (DHCP, "vlan: {}", "vlan: {mode: access, tag: 120}"),
        (DHCP, "stp:\n", "vlan-default-pvid: 120\n            stp:\n"),
    ],
    &[(
        DHCP,
        "        ipv4:\n          enabled: false\n        bridge",
        "        ipv4: {enabled: true, dhcp: true}\n        bridge",
    )],
    &[(
        DHCP,
        "- name: eno1\n              vlan",
        "- name: \"{{ capture.nic.interfaces.0.name }}\"\n              vlan",
    )],
    &[(
        DHCP,
        "      - name: br-external\n",
        "      - {name: br-old, type: linux-bridge, state: absent}\n      - name: br-external\n",
    )],
    &[(
        DHCP,
        "apiVersion: nmstate.io/v1\n",
        "apiVersion: nmstate.io/v1\nkind: NodeNetworkConfigurationPolicy\nmetadata: {name: storage}\nspec:\n  nodeSelector: {role: storage}\n  desiredState:\n    interfaces:\n      - {name: br-san, type: linux-bridge, bridge: {options: {stp: {enabled: false}}, port: [{name: eno1}]}}\n---\napiVersion: nmstate.io/v1\n",
    )],
    &[(
        DHCP,
        "type: ethernet\n        state: up\n        ipv4:\n          enabled: false\n      - name",
        "type: ethernet\n        state: up\n      - {name: eno2, type: ethernet, ipv4: {enabled: true, dhcp: true}}\n      - name",
    )],
    &[(STATIC, "stp: {enabled: false}", "stp: {enabled: \"off\"}")],
    // Machines.
    &[(DHCP, "networkName: lan\n", "networkName: vms/lan\n")],
    &[(DHCP, "macAddress: \"02:00:00:00:00:10\"", "macAddress: 02-00-00-00-00-10")],
    &[(DHCP, "model: virtio\n", "model: e1000e\n              state: up\n              bootOrder: 2\n")],
    &[(DHCP, "            - name: cloudinit\n              disk: {bus: virtio}\n", "")],
    &[
        (DHCP, "  namespace: vms\nspec:\n  runStrategy", "  namespace: apps\nspec:\n  runStrategy"),
        (DHCP, "networkName: lan\n", "networkName: vms/lan\n"),
    ],
    &[(
        DHCP,
        "kind: VirtualMachine\nmetadata:\n  name: web\n  namespace: vms\nspec:\n  runStrategy: Always\n  template:\n    metadata:\n      labels: {app: web}\n",
        "kind: VirtualMachineInstanceReplicaSet\nmetadata:\n  name: web\n  namespace: vms\nspec:\n  replicas: 1\n  template:\n    metadata:\n      labels: {app: web}\n",
    )],
    &[(SECRET, "networkName: default/vlan120", "networkName: elsewhere/vlan120")],
    &[(INCUMBENT, "model: virtio}", "model: virtio, macAddress: \"02:aa:00:00:00:01\"}")],
    &[(STATIC, "name: db2\n  namespace: default", "name: db1\n  namespace: other")],
    // Guests.
    &[(DHCP, "                    use-routes: false\n", "                    route-metric: 300\n")],
    &[(DHCP, LAN_DATA, "                all: {match: {name: \"en*\"}, dhcp4: true}\n")],
    &[(DHCP, LAN_DATA, "                enp2s0: {dhcp4: yes}\n")],
    &[(DHCP, LAN_DATA, "                enp2s0: {dhcp4: false, dhcp6: false, optional: true}\n")],
    &[(
        DHCP,
        LAN_DATA,
        "                enp2s0: {addresses: [10.77.0.9/24], routes: [{to: 10.0.0.0/8, via: 10.77.0.1}]}\n",
    )],
    &[(
        DHCP,
        "dhcp-identifier: mac\n",
        "nameservers: {search: [lan.example], addresses: [10.77.0.1]}\n                  mtu: 1400\n",
    )],
    &[(DHCP, "version: 2\n", "version: 2\n              renderer: networkd\n")],
    &[(
        DHCP,
        "hostname: web\n",
        "hostname: web\n              runcmd: [[ip, link]]\n              write_files: [{path: /etc/network, content: x}]\n",
    )],
    &[(STATIC, "10.120.0.11/24", "10.120.0.10/31"), (STATIC, "via: 10.120.0.1}", "via: 10.120.0.11}")],
    &[
        (STATIC, "10.120.0.11/24", "10.120.0.11/32"),
        (STATIC, "via: 10.120.0.1}", "via: 10.120.0.1, on-link: true}"),
    ],
    &[(STATIC, "to: default, via: 10.120.0.1}", "to: 0.0.0.0/0, via: 10.120.0.1, metric: 50}")],
    &[
        (STATIC, "gateway6: fe80::1\n", "dhcp6: true\n"),
        (STATIC, "{to: default", "{to: \"::/0\", via: \"fe80::1\"}\n                      - {to: default"),
    ],
    &[(
        STATIC,
        "address: 10.120.0.12/24\n",
        "address: 10.120.0.12\n                      netmask: 255.255.255.0\n",
    )],
    &[(
        STATIC,
        "type: static\n                      address: 10.120.0.12/24\n                      gateway: 10.120.0.1\n",
        "type: dhcp\n",
    )],
    &[(STATIC, "macaddress: \"52:54:00:00:01:0a\"", "macaddress: 52:54:00:00:01:0A")],
    &[(SECRET, "networkdata: |", "networkData: |")],
    &[(SECRET, "        dhcp6: true\n", "        accept-ra: true\n        link-local: [ipv6]\n")],
    &[(TRUNK, "dhcp4: false\n", "dhcp4: true\n              dhcp4-overrides: {use-routes: false}\n")],
    &[(TRUNK, "          vlans:\n", "          bonds: {}\n          vlans:\n")],
    // Pods.
    &[(PODS, "range@lan0, apps/lan-dhcp@lan1", "range , lan-dhcp")],
    &[(
        PODS,
        "range@lan0, apps/lan-dhcp@lan1",
        "'[{\"name\": \"range\", \"default-route\": [\"10.77.0.1\"]}]'",
    )],
    &[
        (PODS, "replicas: 3\n", "replicas: 1\n"),
        (PODS, "range@lan0, apps/lan-dhcp@lan1", "'[{\"name\": \"fixed\", \"mac\": \"02:00:00:00:00:21\"}]'"),
    ],
    &[(PODS, "kind: Deployment", "kind: DaemonSet"), (PODS, "  replicas: 3\n", "")],
    &[(
        PODS,
        "\"mac\": \"02:00:00:00:00:20\",\n          \"ips\": [\"10.77.0.50/24\"]",
        "\"ips\": [\"10.77.0.50/24\", \"2001:db8::50/64\"]",
    )],
    &[(
        PODS,
        "\"name\": \"fixed\",\n          \"namespace\": \"apps\"",
        "\"name\": \"elsewhere\",\n          \"namespace\": \"infra\"",
    )],
];

#[test]
fn what_has_no_mistake_has_no_error_and_no_warning() {
    let mut blamed = Vec::new();
    for changes in VARIATIONS {
        let mut manifest = changes[0].0.to_string();
        for (_, from, to) in *changes {
            assert!(manifest.contains(from), "{from:?} is not in the manifest any more");
            manifest = manifest.replacen(from, to, 1);
        }
        let mut inventory = Inventory::default();
        inventory.read("manifest", &manifest);
        let findings = judge(&mut inventory);
        blamed.extend(
            findings.iter().filter(|finding| finding.severity != Severity::Hint).map(|finding| {
                format!("{:?}: {} {}", changes.last().unwrap().2, finding.rule, finding.message)
            }),
        );
    }
    println!("{} manifests without a mistake, {} findings", VARIATIONS.len(), blamed.len());
    assert!(blamed.is_empty(), "{}", blamed.join("\n"));
}

#[test]
fn there_are_sixty_of_each() {
    assert!(MISTAKES.len() >= 60 && VARIATIONS.len() >= 60, "{} {}", MISTAKES.len(), VARIATIONS.len());
}

import { expect, test } from "bun:test";
import { parseCidr } from "./ipv4.ts";
import { formatRuleset } from "./ruleset.ts";

test("formatRuleset() makes one transaction of a table", () => {
  const { subnet } = parseCidr("172.17.0.0/16");
  const bridges = [{ bridge: "longshore0", subnet }];
  const text = formatRuleset({
    ...{ table: "longshore0", bridges },
    ...{ foreignBridges: ["docker0"], guardedLinks: ["eth0", "eth1"] },
  });
  expect(text).toMatchInlineSnapshot(`
    "table inet longshore0
    delete table inet longshore0
    table inet longshore0 {
      set bridges { type ifname; elements = { "longshore0" }; }
      set foreign_bridges { type ifname; elements = { "docker0" }; }
      set guarded_links { type ifname; elements = { "eth0", "eth1" }; }
      chain forward {
        type filter hook forward priority filter; policy accept;
        oifname @bridges ct state established,related accept
        iifname "longshore0" oifname "longshore0" accept
        oifname @bridges drop
        iifname @bridges oifname @foreign_bridges drop
        iifname @guarded_links oifname @guarded_links drop
      }
      chain postrouting {
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr 172.17.0.0/16 oifname != "longshore0" masquerade
      }
    }
    "
  `);
});

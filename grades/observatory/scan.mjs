// Lets Mozilla's Observatory look at one page of a site and prints what it found as JSON.
//   node scan.mjs slipway.test/api/schema/ 10.203.77.10
// The name is found at the address given, as curl's --resolve does. A private authority is trusted through NODE_EXTRA_CA_CERTS.
import dns from "node:dns";
import { scan } from "@mdn/mdn-http-observatory";

const [site, address] = process.argv.slice(2);
const name = site.split("/")[0].split(":")[0];
const ask = dns.lookup;
dns.lookup = (asked, ...rest) => ask(asked === name ? address : asked, ...rest);

try {
  const { scan: summary, tests } = await scan(site);
  console.log(JSON.stringify({ scan: summary, tests }));
} catch (error) {
  console.log(JSON.stringify({ error: error.message }));
  process.exitCode = 1;
}

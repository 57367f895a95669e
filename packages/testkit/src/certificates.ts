import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";

const CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

/** Keys and certificates in a directory: an authority's, of a server and a client that it has signed, and of a stranger. */
export interface Certificates {
  ca: string;
  server: { cert: string; key: string };
  client: { cert: string; key: string };
  stranger: { cert: string; key: string };
}

export function makeCertificates(dir: string): Certificates {
  const openssl = (...args: string[]) => {
    const { status, stderr } = spawnSync("openssl", args, { cwd: dir, encoding: "utf8" });
    if (status !== 0) throw new Error(`openssl ${args[0]}: ${stderr}`);
  };
  const pair = (name: string) => ({
    cert: path.join(dir, `${name}.pem`),
    key: path.join(dir, `${name}-key.pem`),
  });
  const signItself = (name: string) =>
    openssl(
      "req",
      "-x509",
      ...CURVE,
      "-keyout",
      pair(name).key,
      "-out",
      pair(name).cert,
      "-subj",
      `/CN=${name}`,
    );
  signItself("ca");
  signItself("stranger");
  for (const name of ["server", "client"]) {
    const { cert, key } = pair(name);
    openssl("req", ...CURVE, "-keyout", key, "-out", `${name}.csr`, "-subj", `/CN=${name}`);
    const extensions = ["subjectAltName=IP:127.0.0.1,DNS:localhost", `extendedKeyUsage=${name}Auth`];
    fs.writeFileSync(path.join(dir, `${name}.ext`), extensions.join("\n"));
    const authority = ["-CA", pair("ca").cert, "-CAkey", pair("ca").key, "-CAcreateserial"];
    openssl("x509", "-req", "-in", `${name}.csr`, ...authority, "-out", cert, "-extfile", `${name}.ext`);
  }
  return { ca: pair("ca").cert, server: pair("server"), client: pair("client"), stranger: pair("stranger") };
}

// The grammar of distribution/reference, its `regexp.go`; no construct here backtracks more than linearly.

const COMPONENT = "[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*";
const PATH = `${COMPONENT}(?:/${COMPONENT})*`;
const LABEL = "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])";
const DOMAIN = `(?:${LABEL}(?:\\.${LABEL})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?`;
const TAG = "\\w[\\w.-]{0,127}";
const DIGEST = "[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}";

/** Groups: name, tag, digest. */
export const REFERENCE = new RegExp(`^((?:${DOMAIN}/)?${PATH})(?::(${TAG}))?(?:@(${DIGEST}))?$`);
/** Groups: domain, path. */
export const NAME = new RegExp(`^(?:(${DOMAIN})/)?(${PATH})$`);
export const TAG_ONLY = new RegExp(`^${TAG}$`);
/** A full image id without its algorithm; never a repository name. */
export const IDENTIFIER = /^[a-f0-9]{64}$/;

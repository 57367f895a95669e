import { EngineError } from "@longshore/errors";
import { contains, formatPrefix, type IpPrefix, masked, parseAddress, parsePrefix } from "./ip-prefix.ts";

/** One subnet of a network, as a client asks for it; empty is what the engine shall choose. */
export interface IpamConfig {
  readonly Subnet: string;
  readonly IPRange: string;
  readonly Gateway: string;
  readonly AuxiliaryAddresses: Readonly<Record<string, string>>;
}

/**
 * Check what a client asks for of a network's addresses; all that is wrong is told at once.
 * @throws EngineError `invalid_argument` in Docker's words (moby, `api/types/network/ipam.go`)
 */
export function validateIpam(configs: readonly IpamConfig[]): void {
  const errors = configs.flatMap(errorsOf);
  if (errors.length === 0) return;
  const list = errors.length === 1 ? errors[0] : errors.map((error) => `* ${error}`).join("\n");
  throw new EngineError("invalid_argument", `invalid network config:\n${list}`);
}

function errorsOf({ Subnet, IPRange, Gateway, AuxiliaryAddresses }: IpamConfig): string[] {
  const subnet = parsePrefix(Subnet);
  if (!subnet) return [`invalid subnet ${Subnet}: invalid CIDR block notation`];
  const whole = formatPrefix(masked(subnet));
  const errors: string[] = [];
  if (masked(subnet).value !== subnet.value)
    errors.push(`invalid subnet ${formatPrefix(subnet)}: it should be ${whole}`);
  errors.push(...rangeErrors(IPRange, subnet));
  const gateway = addressError(Gateway, subnet);
  if (gateway) errors.push(`invalid gateway ${Gateway}: ${gateway}`);
  for (const [name, address] of Object.entries(AuxiliaryAddresses)) {
    const error = addressError(address, subnet);
    if (error) errors.push(`invalid auxiliary address ${name}: ${error}`);
  }
  return errors;
}

function rangeErrors(text: string, subnet: IpPrefix): string[] {
  if (text === "") return [];
  const range = parsePrefix(text);
  if (!range) return [`invalid ip-range ${text}: invalid CIDR block notation`];
  if (range.family !== subnet.family)
    return [`invalid ip-range ${text}: parent subnet is an ${subnet.family} block`];
  const errors: string[] = [];
  const parent = formatPrefix(subnet);
  if (range.length < subnet.length)
    errors.push(`invalid ip-range ${text}: CIDR block is bigger than its parent subnet ${parent}`);
  if (masked(range).value !== range.value)
    errors.push(`invalid ip-range ${formatPrefix(range)}: it should be ${formatPrefix(masked(range))}`);
  if (!contains(subnet, range) && !contains(range, subnet))
    errors.push(`invalid ip-range ${text}: parent subnet ${parent} doesn't contain ip-range`);
  return errors;
}

function addressError(text: string, subnet: IpPrefix): string | undefined {
  if (text === "") return undefined;
  const address = parseAddress(text);
  if (!address) return "invalid address";
  if (address.family !== subnet.family) return `parent subnet is an ${subnet.family} block`;
  if (contains(subnet, address)) return undefined;
  return `parent subnet ${formatPrefix(subnet)} doesn't contain this address`;
}

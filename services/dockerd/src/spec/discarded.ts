import fs from "node:fs";
import type { Resources } from "../containers/container-config.ts";
import { cgroupVersion } from "../system/host-facts.ts";

/** What of limits the host's kernel can do. */
export interface HostSupport {
  swappiness: boolean;
  oomKillDisable: boolean;
  swapLimit: boolean;
}

export function hostSupport(): HostSupport {
  const v1 = cgroupVersion() === "1";
  const hasFile = (name: string) => fs.existsSync(`/sys/fs/cgroup/memory/${name}`);
  return {
    swappiness: v1 && hasFile("memory.swappiness"),
    oomKillDisable: v1 && hasFile("memory.oom_control"),
    swapLimit: !v1 || hasFile("memory.memsw.limit_in_bytes"),
  };
}

/** What is asked for and, as with Docker, left out with a warning where the kernel can't do it. */
export function withoutDiscarded<R extends Resources>(
  asked: R,
  support: HostSupport = hostSupport(),
): { resources: R; warnings: string[] } {
  const { KernelMemory, KernelMemoryTCP, ...rest } = asked;
  const resources = rest as R;
  const warnings: string[] = [];
  if (asked.MemorySwappiness >= 0 && !support.swappiness) {
    warnings.push(
      discarded("memory swappiness capabilities or the cgroup is not mounted", "Memory swappiness"),
    );
    resources.MemorySwappiness = -1;
  }
  if (asked.Memory > 0 && asked.MemorySwap > 0 && !support.swapLimit) {
    warnings.push(
      "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.",
    );
    resources.MemorySwap = -1;
  }
  if (KernelMemory !== undefined || KernelMemoryTCP !== undefined) {
    warnings.push(discarded("kernel memory limit capabilities or the cgroup is not mounted", "Limitation"));
  }
  if (asked.OomKillDisable && !support.oomKillDisable) {
    warnings.push(discarded("OomKillDisable", "OomKillDisable"));
    resources.OomKillDisable = false;
  }
  if (resources.OomKillDisable && asked.Memory === 0) {
    warnings.push(
      "OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.",
    );
  }
  return { resources, warnings };
}

function discarded(lacking: string, what: string): string {
  return `Your kernel does not support ${lacking}. ${what} discarded.`;
}

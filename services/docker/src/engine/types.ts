/** What this client reads of the engine's answers; the engine has more. */

export interface ContainerSummary {
  Id: string;
  Names: string[] | null;
  Image: string;
  ImageID: string;
  Command: string;
  Created: number;
  Ports: Port[] | null;
  Labels: Record<string, string> | null;
  State: string;
  Status: string;
  Health?: { Status: string };
  SizeRw?: number;
  SizeRootFs?: number;
  Mounts?: { Name?: string; Source?: string; Driver?: string }[] | null;
  NetworkSettings?: { Networks?: Record<string, unknown> | null } | null;
}

export interface Port {
  IP?: string;
  PrivatePort: number;
  PublicPort?: number;
  Type: string;
}

export interface ContainerDetails {
  Id: string;
  Name: string;
  State: { Running: boolean; Paused: boolean; Restarting: boolean; ExitCode: number; Status: string };
  Config: { Tty: boolean; OpenStdin: boolean };
  HostConfig: { AutoRemove: boolean };
}

export interface ImageSummary {
  Id: string;
  RepoTags: string[] | null;
  RepoDigests: string[] | null;
  Created: number;
  Size: number;
  SharedSize: number;
  Containers: number;
}

export interface WaitAnswer {
  StatusCode: number;
  Error?: { Message: string } | null;
}

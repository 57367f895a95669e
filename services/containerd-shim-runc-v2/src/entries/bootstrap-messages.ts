export { BootstrapParams } from "@longshore/api/containerd/runtime/bootstrap/v1/bootstrap";

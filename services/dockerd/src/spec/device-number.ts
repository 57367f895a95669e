/** Of a `stat`'s `rdev`. @see glibc `sys/sysmacros.h` */
export function majorOf(rdev: number): number {
  return (Math.floor(rdev / 2 ** 8) & 0xfff) | (Math.floor(rdev / 2 ** 32) & 0xfffff000);
}

export function minorOf(rdev: number): number {
  return (rdev & 0xff) | (Math.floor(rdev / 2 ** 12) & 0xffffff00);
}

/** The source of `HAND_CODE`, byte for byte, in the notation of Intel's manuals; only a test reads it. */
export const LISTING = `
spawn:  ; rdi clone_args, rsi its size, rdx mailbox; returns as clone3 does, the child never returns
  49 89 d0             mov  r8, rdx
  b8 b3 01 00 00       mov  eax, 435            ; clone3
  0f 05                syscall
  85 c0                test eax, eax
  74 03                jz   child
  48 98                cdqe
  c3                   ret
child:
  4c 89 c3             mov  rbx, r8
idle:   ; mailbox: state u32 (0 gone, 1 idle, 2 asked), first u64, end u64, stopped at u64
  8b 13                mov  edx, [rbx]
  83 fa 02             cmp  edx, 2
  74 11                je   work
  48 89 df             mov  rdi, rbx
  31 f6                xor  esi, esi            ; FUTEX_WAIT
  45 31 d2             xor  r10d, r10d
  b8 ca 00 00 00       mov  eax, 202            ; futex
  0f 05                syscall
  eb e8                jmp  idle
work:
  4c 8b 63 08          mov  r12, [rbx+8]
  4c 8b 6b 10          mov  r13, [rbx+16]
  e8 3e 00 00 00       call run
  4c 89 63 18          mov  [rbx+24], r12
  c7 03 01 00 00 00    mov  dword [rbx], 1
  48 89 df             mov  rdi, rbx
  be 01 00 00 00       mov  esi, 1              ; FUTEX_WAKE
  ba 01 00 00 00       mov  edx, 1
  b8 ca 00 00 00       mov  eax, 202
  0f 05                syscall
  eb bb                jmp  idle
elf:    ; entry point when the code is a program of its own: the table is at a fixed address
  41 bc 00 00 50 00    mov  r12d, 0x500000
  49 c7 c5 ff ff ff ff mov  r13, -1
  e8 0c 00 00 00       call run
  bf ff 00 00 00       mov  edi, 255
  b8 e7 00 00 00       mov  eax, 231            ; exit_group
  0f 05                syscall
run:    ; r12 first entry, r13 end; r12 is left at the entry that stopped it, or at the end
  4d 39 ec             cmp  r12, r13
  0f 83 8d 00 00 00    jae  done
  45 8b 74 24 04       mov  r14d, [r12+4]
  49 8b 7c 24 10       mov  rdi, [r12+16]
  41 f6 c6 01          test r14b, 1
  74 03                jz   +3
  48 8b 3f             mov  rdi, [rdi]
  49 8b 74 24 18       mov  rsi, [r12+24]
  41 f6 c6 02          test r14b, 2
  74 03                jz   +3
  48 8b 36             mov  rsi, [rsi]
  49 8b 54 24 20       mov  rdx, [r12+32]
  41 f6 c6 04          test r14b, 4
  74 03                jz   +3
  48 8b 12             mov  rdx, [rdx]
  4d 8b 54 24 28       mov  r10, [r12+40]
  41 f6 c6 08          test r14b, 8
  74 03                jz   +3
  4d 8b 12             mov  r10, [r10]
  4d 8b 44 24 30       mov  r8, [r12+48]
  41 f6 c6 10          test r14b, 16
  74 03                jz   +3
  4d 8b 00             mov  r8, [r8]
  4d 8b 4c 24 38       mov  r9, [r12+56]
  41 f6 c6 20          test r14b, 32
  74 03                jz   +3
  4d 8b 09             mov  r9, [r9]
  41 8b 04 24          mov  eax, [r12]
  0f 05                syscall
  49 89 44 24 40       mov  [r12+64], rax
  48 3d 01 f0 ff ff    cmp  rax, -4095
  73 07                jae  failed
  49 63 44 24 0c       movsxd rax, dword [r12+12]
  eb 0b                jmp  next
failed:
  49 63 44 24 08       movsxd rax, dword [r12+8]
  48 83 f8 ff          cmp  rax, -1
  74 0f                je   done
next:
  48 ff c0             inc  rax
  48 6b c0 50          imul rax, rax, 80
  49 01 c4             add  r12, rax
  e9 6a ff ff ff       jmp  run
done:
  c3                   ret
adopt:  ; where a child starts that a hand has made by clone3 as the last call of a table: \`ret\` takes it here, mailbox on its stack
  5b                   pop  rbx
  e9 00 ff ff ff       jmp  idle
`;

/** The bytes that stand in the listing. */
export function listedCode(): string {
  const bytes = LISTING.split("\n").flatMap((line) =>
    line.startsWith("  ") ? (line.slice(2, 22).match(/[0-9a-f]{2}(?= |$)/g) ?? []) : [],
  );
  return bytes.join("");
}

"""The numbers: parameters, bytes and operations of LoRA on any model, and the ledger of what is published about it."""

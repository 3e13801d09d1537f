"""The most memory that each service may have resident, in MiB; docs/overload.md says what each is made of."""

LIMITS_MIB = {
    "ingestion": 640,
    "features": 640,
    "serving": 512,
    "training": 768,
    "registry": 256,
    "monitoring": 384,
}

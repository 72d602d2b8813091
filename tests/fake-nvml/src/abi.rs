//! Each function has the type by which the wrapper calls it; the compiler checks it.

use nvml_wrapper_sys::bindings::NvmlLib;

use crate::{card, driver, events};

macro_rules! same_types {
    ($($module:ident: $($symbol:ident)*;)*) => {
        #[expect(dead_code, reason = "it is for the compiler alone")]
        fn check(library: &mut NvmlLib) {
            $($(library.$symbol = Ok($module::$symbol);)*)*
        }
    };
}

same_types! {
    driver: nvmlInit_v2 nvmlInitWithFlags nvmlShutdown nvmlSystemGetDriverVersion
        nvmlSystemGetNVMLVersion nvmlSystemGetCudaDriverVersion_v2 nvmlDeviceGetCount_v2
        nvmlDeviceGetHandleByIndex_v2 nvmlDeviceGetHandleByUUID nvmlDeviceGetHandleByPciBusId_v2
        nvmlDeviceGetTopologyCommonAncestor;
    events: nvmlEventSetCreate nvmlEventSetFree nvmlDeviceGetSupportedEventTypes
        nvmlDeviceRegisterEvents nvmlEventSetWait_v2;
    card: nvmlDeviceGetName nvmlDeviceGetUUID nvmlDeviceGetSerial nvmlDeviceGetIndex
        nvmlDeviceGetMinorNumber nvmlDeviceGetArchitecture nvmlDeviceGetNumaNodeId
        nvmlDeviceGetComputeMode nvmlDeviceGetPowerUsage nvmlDeviceGetEnforcedPowerLimit
        nvmlDeviceGetTotalEnergyConsumption nvmlDeviceGetCurrentClocksThrottleReasons
        nvmlDeviceGetMaxMigDeviceCount nvmlDeviceIsMigDeviceHandle
        nvmlDeviceGetDeviceHandleFromMigDeviceHandle nvmlDeviceGetUtilizationRates
        nvmlDeviceGetAttributes_v2 nvmlDeviceGetPciInfo_v3 nvmlDeviceGetCudaComputeCapability
        nvmlDeviceGetMemoryInfo_v2 nvmlDeviceGetMigMode nvmlDeviceGetMigDeviceHandleByIndex
        nvmlDeviceGetNvLinkState nvmlDeviceGetNvLinkRemotePciInfo_v2
        nvmlDeviceGetComputeRunningProcesses_v3 nvmlDeviceGetMPSComputeRunningProcesses_v3
        nvmlDeviceGetProcessUtilization nvmlDeviceGetEccMode nvmlDeviceGetTotalEccErrors
        nvmlDeviceGetTemperature nvmlDeviceGetClockInfo;
}
